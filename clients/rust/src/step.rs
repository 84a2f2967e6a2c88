//! Steps: what runs once, and is answered from its record then.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use futures_util::FutureExt;
use futures_util::future::join_all;
use sea_orm::{DatabaseTransaction, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use crate::call::{Callable, Claimed, Refused, claimed, column, nullable, row, value};
use crate::drive::{Busy, Open, Reason, Stop};
use crate::error::{Again, is_lost, is_transient};
use crate::{Ctx, DurableError, Failure, RetryPolicy, pooler};

/// One attempt of a step.
#[derive(Debug, Clone)]
pub struct Step {
    /// the same each time the step runs: an idempotency key for the outside world
    pub id: Uuid,
    /// its name
    pub name: String,
    /// from 1
    pub attempt: i32,
}

/// How a step is tried.
///
/// ```
/// # use durable::{RetryPolicy, StepOptions};
/// # use std::time::Duration;
/// let options = StepOptions::from(RetryPolicy::exponential(5, Duration::from_secs(1)))
///     .timeout(Duration::from_secs(30))
///     .max_backoff(Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, Default)]
pub struct StepOptions {
    retry: Option<RetryPolicy>,
    max_backoff: Option<Duration>,
    timeout: Option<Duration>,
}

impl From<RetryPolicy> for StepOptions {
    fn from(retry: RetryPolicy) -> Self {
        Self { retry: Some(retry), ..Self::default() }
    }
}

impl StepOptions {
    /// The longest pause between two attempts.
    pub fn max_backoff(mut self, pause: Duration) -> Self {
        self.max_backoff = Some(pause);
        self
    }

    /// The time that one attempt has.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }
}

type InTransaction<'tx, T> = Pin<Box<dyn Future<Output = Result<T, DurableError>> + Send + 'tx>>;

/// An attempt in a transaction that has not come to a result.
enum Broken {
    /// the step is not to be run now
    Found(Claimed),
    /// its function has failed
    Raised(DurableError),
    /// its function can be called once only
    Spent,
    Refused(Refused),
}

impl From<Refused> for Broken {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// With a place, what all need to know of a step.
struct Place<'a> {
    sequence: i32,
    name: &'a str,
    kind: &'static str,
    options: &'a StepOptions,
}

impl Ctx {
    /// Runs a step. If it is recorded, the answer is what was recorded; else the closure
    /// runs, and its outcome is recorded. A failure is an outcome, too: it is raised again
    /// by each replay, until [`resume_failed`](Self::resume_failed). For retries see
    /// [`step_with_retry`](Self::step_with_retry).
    pub fn step<T, F, Fut>(&self, name: &str, f: F) -> impl Future<Output = Result<T, DurableError>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        let mut f = Some(f);
        let sequence = self.next_sequence();
        async move {
            let options = StepOptions::default();
            let place = Place { sequence, name, kind: "STEP", options: &options };
            // without retries there is one attempt
            self.execute(&place, |_| f.take().map(|f| f())).await
        }
    }

    /// Runs a step that may be composed with others by `tokio::try_join!`: its position is taken when the call is made.
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError};
    /// # async fn fetch() -> Result<u32, DurableError> { Ok(1) }
    /// # async fn f(ctx: Ctx) -> Result<(), DurableError> {
    /// let (a, b) = tokio::try_join!(
    ///     ctx.concurrent_step("fetch_a", || async { fetch().await }),
    ///     ctx.concurrent_step("fetch_b", || async { fetch().await }),
    /// )?;
    /// # Ok(()) }
    /// ```
    pub fn concurrent_step<T, F, Fut>(&self, name: &str, f: F) -> impl Future<Output = Result<T, DurableError>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        self.step(name, f)
    }

    /// Runs a step that is tried again when it fails. The server keeps count and time, so
    /// the policy holds across restarts.
    pub fn step_with_retry<T, F, Fut>(
        &self,
        name: &str,
        policy: RetryPolicy,
        f: F,
    ) -> impl Future<Output = Result<T, DurableError>>
    where
        T: Serialize + DeserializeOwned,
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        self.step_with(name, policy, move |_| f())
    }

    /// Runs a step whose function is told which attempt it is, and has more [options](StepOptions).
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError, Failure, RetryPolicy, Step};
    /// # use std::time::Duration;
    /// # async fn charge(key: &str) -> Result<String, DurableError> { Ok(key.to_owned()) }
    /// # async fn f(ctx: Ctx) -> Result<(), DurableError> {
    /// let retry = RetryPolicy::exponential(5, Duration::from_secs(1));
    /// let receipt: String = ctx.step_with("charge", retry, |step: Step| async move {
    ///     charge(&step.id.to_string()).await
    /// }).await?;
    /// # Ok(()) }
    /// ```
    pub fn step_with<T, F, Fut>(
        &self,
        name: &str,
        options: impl Into<StepOptions>,
        f: F,
    ) -> impl Future<Output = Result<T, DurableError>>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Step) -> Fut,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        let (sequence, options) = (self.next_sequence(), options.into());
        async move {
            let place = Place { sequence, name, kind: "STEP", options: &options };
            self.execute(&place, |step| Some(f(step))).await
        }
    }

    /// Runs a function for each item, each a step of that name, so many at once. The outcomes are in the order of the
    /// items; if some have failed, it is the first failure in this order, when all have ended.
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError, RetryPolicy, StepOptions};
    /// # async fn f(ctx: Ctx) -> Result<(), DurableError> {
    /// let sizes: Vec<usize> = ctx.map("resize", vec!["a.png", "b.png"], 4, StepOptions::default(), |_step, file| async move {
    ///     Ok(file.len())
    /// }).await?;
    /// # Ok(()) }
    /// ```
    pub fn map<A, T, F, Fut>(
        &self,
        name: &str,
        items: Vec<A>,
        concurrency: usize,
        options: impl Into<StepOptions>,
        f: F,
    ) -> impl Future<Output = Result<Vec<T>, DurableError>>
    where
        A: Clone,
        T: Serialize + DeserializeOwned,
        F: Fn(Step, A) -> Fut,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        let first = self.take(i32::try_from(items.len()).unwrap_or(i32::MAX));
        let options = options.into();
        async move {
            let places: Vec<(i32, A)> = (first..).zip(items).collect();
            let next = AtomicUsize::new(0);
            let lane = || async {
                let mut done = Vec::new();
                while let Some((sequence, item)) = places.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let place = Place { sequence: *sequence, name, kind: "STEP", options: &options };
                    done.push((*sequence, self.execute(&place, |step| Some(f(step, item.clone()))).await));
                }
                done
            };
            let lanes = (0..concurrency.clamp(1, places.len().max(1))).map(|_| lane());
            let mut done: Vec<_> = join_all(lanes).await.into_iter().flatten().collect();
            done.sort_by_key(|(sequence, _)| *sequence);
            done.into_iter().map(|(_, outcome)| outcome).collect()
        }
    }

    /// Runs a step that only writes to the database: its writes and its outcome are one transaction.
    ///
    /// Where the closure can be called only once, a transaction that the server has undone (a deadlock, a
    /// serialization failure, a lost connection) ends this run, and the next one does it again; if no worker drives the
    /// workflow, the error is the caller's. See [`transaction_with`](Self::transaction_with).
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError};
    /// # async fn do_db_work(tx: &durable::DatabaseTransaction) -> Result<u32, DurableError> { Ok(1) }
    /// # async fn f(ctx: Ctx) -> Result<(), DurableError> {
    /// let count: u32 = ctx.transaction("upsert_batch", |tx| Box::pin(async move {
    ///     do_db_work(tx).await
    /// })).await?;
    /// # Ok(()) }
    /// ```
    pub fn transaction<T, F>(&self, name: &str, f: F) -> impl Future<Output = Result<T, DurableError>>
    where
        T: Serialize + DeserializeOwned + Send,
        F: for<'tx> FnOnce(&'tx DatabaseTransaction) -> InTransaction<'tx, T> + Send,
    {
        let mut f = Some(f);
        let sequence = self.next_sequence();
        async move {
            let options = StepOptions::default();
            let place = Place { sequence, name, kind: "TRANSACTION", options: &options };
            self.commit(&place, |tx, _| f.take().map(|f| f(tx))).await
        }
    }

    /// Like [`transaction`](Self::transaction), with [options](StepOptions); what the server has undone is done again
    /// at once, as a whole, and is no failure.
    pub fn transaction_with<T, F>(
        &self,
        name: &str,
        options: impl Into<StepOptions>,
        f: F,
    ) -> impl Future<Output = Result<T, DurableError>>
    where
        T: Serialize + DeserializeOwned + Send,
        F: for<'tx> Fn(&'tx DatabaseTransaction, Step) -> InTransaction<'tx, T> + Send + Sync,
    {
        let (sequence, options) = (self.next_sequence(), options.into());
        async move {
            let place = Place { sequence, name, kind: "TRANSACTION", options: &options };
            self.commit(&place, |tx, step| Some(f(tx, step))).await
        }
    }

    /// Says something that others can follow while the workflow runs: once, also if the program comes by again.
    /// Returns the number of the event in the workflow.
    pub fn emit<T: Serialize>(&self, topic: &str, payload: &T) -> impl Future<Output = Result<i64, DurableError>> {
        let sequence = self.next_sequence();
        let payload = serde_json::to_value(payload);
        async move {
            let (options, name, payload) = (StepOptions::default(), format!("emit:{topic}"), payload?);
            let place = Place { sequence, name: &name, kind: "TRANSACTION", options: &options };
            let arguments: Vec<Value> =
                vec![self.task_id().into(), topic.into(), nullable(Some(payload)), self.lease().into()];
            self.commit(&place, |tx, _| {
                let arguments = arguments.clone();
                Some(Box::pin(async move { Ok(value(tx, "SELECT durable.emit($1, $2, $3, $4)", arguments).await?) }))
            })
            .await
        }
    }

    /// Whether this run goes the new way of a program that was changed here.
    pub async fn patched(&self, name: &str) -> Result<bool, DurableError> {
        if let Some(recorded) = self.recorded(self.position()).await?
            && recorded.name != format!("patch:{name}")
        {
            return Ok(false);
        }
        let sequence = self.next_sequence();
        let sql = "SELECT durable.patched($1, $2, $3, $4)";
        self.ask(|| async {
            let arguments = vec![self.task_id().into(), sequence.into(), name.into(), self.lease().into()];
            value(self.db(), sql, arguments).await
        })
        .await
    }

    /// The time, recorded: the same on each replay.
    pub fn now(&self) -> impl Future<Output = Result<DateTime<Utc>, DurableError>> {
        self.step("now", || async { Ok(Utc::now().trunc_subsecs(6)) })
    }

    /// A random id, the same on each replay.
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_custom_bytes(self.draw()).into_uuid()
    }

    /// A random number from 0 to 1, the same on each replay.
    #[allow(clippy::cast_precision_loss)]
    pub fn random(&self) -> f64 {
        let drawn = u128::from_be_bytes(self.draw()) >> (64 + 11);
        drawn as f64 / (1u64 << 53) as f64
    }

    fn draw(&self) -> [u8; 16] {
        let n = self.drawn.fetch_add(1, Ordering::SeqCst);
        let digest = Sha256::digest(format!("{}/{}/{n}", self.task_id(), self.position()));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes
    }

    // ── How a step comes to its outcome ───────────────────────────

    async fn execute<T, F, Fut>(&self, place: &Place<'_>, mut f: F) -> Result<T, DurableError>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut(Step) -> Option<Fut>,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        if let Some(output) = self.replayed(place.sequence, place.name, place.kind, None).await? {
            return decode(output);
        }
        let mut tries = 0;
        loop {
            let running = self.while_step().await;
            let found = self.ask(|| self.claim(self.db(), place)).await?;
            if found.action != "EXECUTE" {
                drop(running);
                if let Some(output) = self.pass(place, found, &mut tries).await? {
                    return decode(output);
                }
                continue;
            }
            let busy = self.busy();
            let Some(attempt) = f(place.step(&found)) else {
                return Err(self.give_up(busy, place.name).await);
            };
            // no connection is held while it runs
            match within_time(place, attempt).await.and_then(as_recorded) {
                Ok((output, result)) => {
                    let recorded = self.record(busy, || self.complete_step(self.db(), &found, output.clone())).await;
                    match recorded {
                        Ok(()) => return Ok(result),
                        // what the database cannot keep is no output
                        Err(error @ DurableError::Custom(_)) => {
                            let due = self.failed(self.busy(), place, &found, error).await?;
                            drop(running);
                            self.wait_in_place(found.step_id, true, due, None).await;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(error) if error.is_interrupt() => return Err(error),
                Err(error) => {
                    let due = self.failed(busy, place, &found, error).await?;
                    drop(running);
                    self.wait_in_place(found.step_id, true, due, None).await;
                }
            }
        }
    }

    /// The claim of a transaction stands in it, so that nothing is left of one that the server has undone.
    async fn commit<T, F>(&self, place: &Place<'_>, mut f: F) -> Result<T, DurableError>
    where
        T: Serialize + DeserializeOwned + Send,
        F: for<'tx> FnMut(&'tx DatabaseTransaction, Step) -> Option<InTransaction<'tx, T>> + Send,
    {
        if let Some(output) = self.replayed(place.sequence, place.name, place.kind, None).await? {
            return decode(output);
        }
        let mut tries = 0;
        let mut undone = 0;
        let mut before = None;
        loop {
            if let Some(driver) = self.driver() {
                driver.may_begin().await?;
            }
            let running = self.while_step().await;
            let busy = self.busy();
            let error = match self.attempt(place, &mut f).await {
                Ok(result) => return Ok(result),
                Err(Broken::Found(found)) => {
                    drop((busy, running));
                    if let Some(output) = self.pass(place, found, &mut tries).await? {
                        return decode(output);
                    }
                    continue;
                }
                Err(Broken::Spent) => {
                    let error = self.give_up(busy, place.name).await;
                    return Err(before.unwrap_or(error));
                }
                Err(Broken::Raised(error)) if error.is_interrupt() => return Err(error),
                Err(Broken::Raised(error)) if !is_lost(&error) => {
                    drop(busy);
                    let found = self.ask(|| self.claim(self.db(), place)).await?;
                    if found.action == "EXECUTE" {
                        let due = self.failed(self.busy(), place, &found, error).await?;
                        drop(running);
                        self.wait_in_place(found.step_id, true, due, None).await;
                    } else if let Some(output) = self.pass(place, found, &mut tries).await? {
                        return decode(output);
                    }
                    continue;
                }
                Err(Broken::Raised(error)) => error,
                Err(Broken::Refused(refused)) => match self.driver().zip(busy) {
                    Some((driver, busy)) => {
                        let text = refused.0.to_string();
                        match driver.refused(busy, refused).await {
                            Some(error) => return Err(error),
                            None => DurableError::custom(text),
                        }
                    }
                    None if is_transient(&refused.0) && undone < MOST_TRIES_ALONE => refused.into(),
                    None => return Err(before.unwrap_or_else(|| refused.into())),
                },
            };
            tracing::debug!(%error, step = place.name, "the transaction is done again");
            before.get_or_insert(error);
            tokio::time::sleep(crate::drive::jittered(Duration::from_millis(100) * 2u32.pow(undone.min(5)))).await;
            undone += 1;
        }
    }

    async fn attempt<T, F>(&self, place: &Place<'_>, f: &mut F) -> Result<T, Broken>
    where
        T: Serialize + DeserializeOwned + Send,
        F: for<'tx> FnMut(&'tx DatabaseTransaction, Step) -> Option<InTransaction<'tx, T>> + Send,
    {
        let tx = pooler::begin(self.db()).await.map_err(Refused)?;
        let found = self.claim(&tx, place).await?;
        if found.action != "EXECUTE" {
            return Err(Broken::Found(found));
        }
        let attempt = f(&tx, place.step(&found)).ok_or(Broken::Spent)?;
        let (output, result) = within_time(place, attempt).await.and_then(as_recorded).map_err(Broken::Raised)?;
        self.complete_step(&tx, &found, output).await?;
        tx.commit().await.map_err(Refused)?;
        Ok(result)
    }

    async fn claim(&self, db: &impl Callable, place: &Place<'_>) -> Result<Claimed, Refused> {
        let function = "durable.claim_step($1, $2, $3, kind => $4::text::durable.task_kind, lease => $5, \
                        executor_id => $6, max_retries => $7, backoff => make_interval(secs => $8), \
                        backoff_multiplier => $9, max_backoff => make_interval(secs => $10), \
                        timeout => make_interval(secs => $11))";
        let policy = place.options.retry.clone().unwrap_or_else(RetryPolicy::none);
        let arguments: Vec<Value> = vec![
            self.task_id().into(),
            place.sequence.into(),
            place.name.into(),
            place.kind.into(),
            self.lease().into(),
            self.executor().cloned().into(),
            i32::try_from(policy.max_retries).unwrap_or(i32::MAX).into(),
            policy.initial_backoff.as_secs_f64().into(),
            policy.backoff_multiplier.into(),
            place.options.max_backoff.map(|pause| pause.as_secs_f64()).into(),
            place.options.timeout.map(|time| time.as_secs_f64()).into(),
        ];
        claimed(db, function, arguments).await
    }

    async fn complete_step(&self, db: &impl Callable, step: &Claimed, output: Json) -> Result<(), Refused> {
        let arguments = vec![step.step_id.into(), nullable(Some(output)), self.lease().into(), step.attempt.into()];
        value::<bool>(db, "SELECT durable.complete($1, $2, $3, $4)", arguments).await.map(drop)
    }

    /// Records that an attempt has failed: in how many seconds the next one is due, or the failure, if there is none.
    async fn failed(
        &self,
        busy: Option<Busy<'_>>,
        place: &Place<'_>,
        step: &Claimed,
        error: DurableError,
    ) -> Result<Option<f64>, DurableError> {
        let sql = "SELECT status::text, greatest(extract(epoch FROM run_at - durable.clock()), 0)::float8 \
                   FROM durable.fail($1, $2, $3, $4, detail => $5, retryable => $6, \
                   retry_after => make_interval(secs => $7))";
        let (text, parts) = error.record();
        let again = error.again();
        let after = if let Again::After(pause) = again { Some(pause.as_secs_f64()) } else { None };
        let row = self
            .record(busy, || async {
                let arguments: Vec<Value> = vec![
                    step.step_id.into(),
                    text.clone().into(),
                    self.lease().into(),
                    step.attempt.into(),
                    parts.clone().into(),
                    (again != Again::Never).into(),
                    after.into(),
                ];
                row(self.db(), sql, arguments).await
            })
            .await?;
        if column::<String>(&row, 0)? != "PENDING" {
            return Err(DurableError::recorded(place.name, &text, Some(&parts), Some(step.attempt)));
        }
        Ok(column(&row, 1)?)
    }

    /// What a step answers that is not to be run now: its output, or nothing after a pause.
    async fn pass(
        &self,
        place: &Place<'_>,
        found: Claimed,
        tries: &mut u32,
    ) -> Result<Option<Option<Json>>, DurableError> {
        const MOST_TRIES: u32 = 50;
        let (step_id, due) = (found.step_id, found.wait);
        match settled(place.name, found)? {
            Settled::Output(output) => return Ok(Some(output)),
            Settled::Wait => self.wait_in_place(step_id, true, due, None).await,
            // by a session that has not ended yet
            Settled::Locked if self.driver().is_some() && *tries < MOST_TRIES => {
                *tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Settled::Locked => return Err(self.give_up(self.busy(), place.name).await),
        }
        Ok(None)
    }

    /// Somebody else has it: this run ends.
    async fn give_up(&self, busy: Option<Busy<'_>>, name: &str) -> DurableError {
        drop(busy);
        match self.driver() {
            Some(driver) => driver.leave(Stop::new(Reason::GiveBack(Duration::from_secs(1)), name)).await,
            None => DurableError::StepLocked(name.to_owned()),
        }
    }

    /// Waits until a position may have ended, at most so many seconds, and a while at most if something else can end it.
    pub(crate) async fn wait_in_place(&self, step_id: Uuid, only_time: bool, due: Option<f64>, gather: Option<Uuid>) {
        const LONGEST: f64 = 1.0;
        const SHORTEST: f64 = 0.002;
        let seconds = due.map(|due| due.clamp(SHORTEST, 1e9));
        match self.driver() {
            Some(driver) => {
                let due = seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
                driver.pause(Open { step_id, due, only_time, gather }, driver.news()).await;
            }
            None => tokio::time::sleep(Duration::from_secs_f64(seconds.unwrap_or(LONGEST).min(LONGEST))).await,
        }
    }

    fn busy(&self) -> Option<Busy<'_>> {
        self.driver().map(|driver| {
            driver.progressed();
            driver.busy()
        })
    }
}

/// Of a workflow that no worker drives.
const MOST_TRIES_ALONE: u32 = 3;

impl Place<'_> {
    fn step(&self, found: &Claimed) -> Step {
        Step { id: found.step_id, name: self.name.to_owned(), attempt: found.attempt }
    }
}

/// What a position answers that is not to be run now.
pub(crate) enum Settled {
    Output(Option<Json>),
    Wait,
    Locked,
}

pub(crate) fn settled(name: &str, step: Claimed) -> Result<Settled, DurableError> {
    match step.action.as_str() {
        "REPLAY" => Ok(Settled::Output(step.output)),
        "FAILED" => {
            let attempts = Some(step.attempt).filter(|attempt| *attempt > 0);
            Err(DurableError::recorded(name, &step.error.unwrap_or_default(), step.detail.as_ref(), attempts))
        }
        "WAIT" => Ok(Settled::Wait),
        _ => Ok(Settled::Locked),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(output: Option<Json>) -> Result<T, DurableError> {
    Ok(serde_json::from_value(output.unwrap_or(Json::Null))?)
}

/// What a step has returned as it will be read from its record: so a value that cannot be read again is a failure of
/// the step, and one that changes on its way has changed when it is first used.
fn as_recorded<T: Serialize + DeserializeOwned>(result: T) -> Result<(Json, T), DurableError> {
    let mut output = serde_json::to_value(result)?;
    as_stored(&mut output);
    let result = serde_json::from_value(output.clone())?;
    Ok((output, result))
}

/// The database keeps numbers as decimals: it knows no negative zero, and whole ones that are written with an exponent
/// come back without.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn as_stored(value: &mut Json) {
    match value {
        Json::Array(items) => items.iter_mut().for_each(as_stored),
        Json::Object(fields) => fields.values_mut().for_each(as_stored),
        Json::Number(number) => {
            let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return };
            let written = number.to_string();
            if float == 0.0 {
                *value = Json::from(0.0);
            } else if written.contains('e') && float.abs() >= 1.0 && float.fract() == 0.0 {
                if float > 0.0 && float < u64::MAX as f64 {
                    *value = Json::from(float as u64);
                } else if float < 0.0 && float > i64::MIN as f64 {
                    *value = Json::from(float as i64);
                }
            }
        }
        _ => (),
    }
}

/// Runs one attempt: its time, and a panic, are failures.
async fn within_time<T>(
    place: &Place<'_>,
    attempt: impl Future<Output = Result<T, DurableError>>,
) -> Result<T, DurableError> {
    let attempt = caught(attempt);
    let Some(time) = place.options.timeout else { return attempt.await };
    let late = || DurableError::Timeout(format!("it took longer than {} s", time.as_secs_f64()));
    tokio::time::timeout(time, attempt).await.unwrap_or_else(|_| Err(late()))
}

/// A panic is a failure with its message.
pub(crate) async fn caught<T>(run: impl Future<Output = Result<T, DurableError>>) -> Result<T, DurableError> {
    AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        Err(Failure::new("Panic", text.unwrap_or("a panic")).into())
    })
}
