//! The context of a workflow: it counts the program's positions and asks the server at each.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DatabaseTransaction, TransactionTrait, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::call::{Claimed, claimed, column, row, rows, value};
use crate::query::{self, TaskQuery, TaskSummary};
use crate::retry::retry_db_write;
use crate::{DurableError, RetryPolicy};

/// Whether a start made a new workflow or joined one that was there.
pub enum StartResult {
    /// A new workflow was started.
    Created(Ctx),
    /// An unfinished workflow of that name was there.
    Attached(Ctx),
}

impl StartResult {
    /// The context, whichever it is.
    pub fn into_ctx(self) -> Ctx {
        match self {
            Self::Created(ctx) | Self::Attached(ctx) => ctx,
        }
    }

    /// Borrows the context.
    pub fn ctx(&self) -> &Ctx {
        match self {
            Self::Created(ctx) | Self::Attached(ctx) => ctx,
        }
    }

    /// Whether a new workflow was started.
    pub fn is_created(&self) -> bool {
        matches!(self, Self::Created(_))
    }

    /// Whether an unfinished workflow was there.
    pub fn is_attached(&self) -> bool {
        matches!(self, Self::Attached(_))
    }
}

/// A position that the history has an output for.
struct Recorded {
    name: String,
    kind: String,
    output: Option<Json>,
}

/// Context threaded through every workflow and step.
///
/// Each call that makes a step, a wait or a child takes the next position of the
/// workflow, in the order of the program. What is recorded at a position is
/// answered, and not done again.
pub struct Ctx {
    db: DatabaseConnection,
    task_id: Uuid,
    sequence: AtomicI32,
    executor_id: Option<String>,
    lease: i32,
    /// what was recorded before this run: read once, at the first position
    history: OnceCell<HashMap<i32, Recorded>>,
    /// a worker's: what gives it free
    driver: Option<Arc<Driver>>,
}

/// A workflow that a worker drives, with all its inline children.
pub(crate) struct Driver {
    pub(crate) task_id: Uuid,
    pub(crate) lease: i32,
    pub(crate) executor_id: String,
    /// a longer wait gives the worker free
    pub(crate) patience: Duration,
}

impl Ctx {
    pub(crate) fn new(db: &DatabaseConnection, task_id: Uuid, lease: i32, is_new: bool) -> Self {
        Self {
            db: db.clone(),
            task_id,
            sequence: AtomicI32::new(0),
            executor_id: crate::executor_id(),
            lease,
            driver: None,
            history: if is_new { OnceCell::new_with(Some(HashMap::new())) } else { OnceCell::new() },
        }
    }

    /// The context of a workflow that a worker has claimed.
    pub(crate) fn driven(db: &DatabaseConnection, driver: Driver) -> Self {
        let mut ctx = Self::new(db, driver.task_id, driver.lease, false);
        ctx.executor_id = Some(driver.executor_id.clone());
        ctx.driver = Some(Arc::new(driver));
        ctx
    }

    // ── Workflow lifecycle ────────────────────────────────────────

    /// Starts a root workflow, or attaches to the unfinished one of that name.
    ///
    /// After [`init`](crate::init) this process is its executor; what has died with
    /// another process is taken over. Without, nobody owns it.
    pub async fn start(db: &DatabaseConnection, name: &str, input: Option<Json>) -> Result<StartResult, DurableError> {
        Self::start_as(db, name, input, None, None).await
    }

    /// Like [`start`](Self::start), and records the name of the function that runs it,
    /// by which it is found after a crash.
    pub async fn start_with_handler(
        db: &DatabaseConnection,
        name: &str,
        input: Option<Json>,
        handler: Option<&str>,
    ) -> Result<StartResult, DurableError> {
        Self::start_as(db, name, input, handler, None).await
    }

    /// Like [`start`](Self::start), with a timeout in milliseconds.
    pub async fn start_with_timeout(
        db: &DatabaseConnection,
        name: &str,
        input: Option<Json>,
        timeout_ms: i64,
    ) -> Result<StartResult, DurableError> {
        let result = Self::start_as(db, name, input, None, Some(timeout_ms)).await?;
        if result.is_attached() {
            result.ctx().set_timeout(timeout_ms).await?;
        }
        Ok(result)
    }

    async fn start_as(
        db: &DatabaseConnection,
        name: &str,
        input: Option<Json>,
        handler: Option<&str>,
        timeout_ms: Option<i64>,
    ) -> Result<StartResult, DurableError> {
        let sql = "SELECT s.workflow_id, s.created, s.lease \
                   FROM durable.start($1, $2, $3, $4, timeout => make_interval(secs => $5)) s";
        let row = retry_db_write(|| async {
            let arguments: Vec<Value> = vec![
                name.into(),
                input.clone().into(),
                handler.map(str::to_owned).into(),
                crate::executor_id().into(),
                timeout_ms.map(seconds).into(),
            ];
            row(db, sql, arguments).await
        })
        .await?;
        let created: bool = column(&row, 1)?;
        let ctx = Self::new(db, column(&row, 0)?, column(&row, 2)?, created);
        if created {
            return Ok(StartResult::Created(ctx));
        }
        tracing::info!(workflow = name, id = %ctx.task_id, "attached to the unfinished workflow of that name");
        Ok(StartResult::Attached(ctx))
    }

    /// Attaches to a workflow by its id, to resume one that was recovered, or one that is running.
    pub async fn from_id(db: &DatabaseConnection, task_id: Uuid) -> Result<Self, DurableError> {
        let sql = "SELECT lease FROM durable.attach($1, $2)";
        let lease = value(db, sql, vec![task_id.into(), crate::executor_id().into()]).await?;
        Ok(Self::new(db, task_id, lease, false))
    }

    /// Runs a step. If it is recorded, the answer is what was recorded; else the closure
    /// runs, and its outcome is recorded. A failure is an outcome, too: it is raised again
    /// by each replay, until [`resume_failed`](Self::resume_failed). For retries see
    /// [`step_with_retry`](Self::step_with_retry).
    pub async fn step<T, F, Fut>(&self, name: &str, f: F) -> Result<T, DurableError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        let mut f = Some(f);
        // without retries there is one attempt, unless the process lost the reply of a claim
        self.run_step(name, &RetryPolicy::none(), || f.take().map(|f| f())).await
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
    pub async fn concurrent_step<T, F, Fut>(&self, name: &str, f: F) -> Result<T, DurableError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        self.step(name, f).await
    }

    /// Runs a step that is tried again when it fails. The server keeps count and time, so
    /// the policy holds across restarts.
    pub async fn step_with_retry<T, F, Fut>(&self, name: &str, policy: RetryPolicy, f: F) -> Result<T, DurableError>
    where
        T: Serialize + DeserializeOwned,
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        self.run_step(name, &policy, || Some(f())).await
    }

    async fn run_step<T, F, Fut>(&self, name: &str, policy: &RetryPolicy, mut f: F) -> Result<T, DurableError>
    where
        T: Serialize + DeserializeOwned,
        F: FnMut() -> Option<Fut>,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        let sequence = self.next_sequence();
        if let Some(output) = self.replayed(sequence, name, "STEP").await? {
            return decode(output);
        }
        loop {
            let step = self.claim(sequence, name, "STEP", policy).await?;
            if step.action != "EXECUTE" {
                match settled(name, step)? {
                    Settled::Output(output) => return decode(output),
                    Settled::Wait(pause) => tokio::time::sleep(pause).await,
                }
                continue;
            }
            let Some(attempt) = f() else {
                return Err(DurableError::StepLocked(name.to_owned()));
            };
            // no connection is held while it runs
            match attempt.await.and_then(|result| Ok(serde_json::to_value(result)?)) {
                Ok(output) => {
                    retry_db_write(|| self.record(&self.db, &step, output.clone())).await?;
                    return decode(Some(output));
                }
                Err(error) if error.is_interrupt() => return Err(error),
                Err(error) => {
                    if let Some(pause) = self.record_failure(&step, &error).await? {
                        tokio::time::sleep(pause).await;
                    } else {
                        return Err(DurableError::recorded(error.text(), Some(&error.detail())));
                    }
                }
            }
        }
    }

    /// Runs a step that only writes to the database: its writes and its outcome are one transaction.
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
    pub async fn transaction<T, F>(&self, name: &str, f: F) -> Result<T, DurableError>
    where
        T: Serialize + DeserializeOwned + Send,
        F: for<'tx> FnOnce(
                &'tx DatabaseTransaction,
            ) -> Pin<Box<dyn Future<Output = Result<T, DurableError>> + Send + 'tx>>
            + Send,
    {
        let sequence = self.next_sequence();
        if let Some(output) = self.replayed(sequence, name, "TRANSACTION").await? {
            return decode(output);
        }
        let step = loop {
            let step = self.claim(sequence, name, "TRANSACTION", &RetryPolicy::none()).await?;
            if step.action == "EXECUTE" {
                break step;
            }
            match settled(name, step)? {
                Settled::Output(output) => return decode(output),
                Settled::Wait(pause) => tokio::time::sleep(pause).await,
            }
        };
        let tx = self.db.begin().await?;
        match f(&tx).await.and_then(|result| Ok(serde_json::to_value(result)?)) {
            Ok(output) => {
                self.record(&tx, &step, output.clone()).await?;
                tx.commit().await?;
                decode(Some(output))
            }
            Err(error) => {
                tx.rollback().await?;
                if error.is_interrupt() {
                    return Err(error);
                }
                self.record_failure(&step, &error).await?;
                Err(DurableError::recorded(error.text(), Some(&error.detail())))
            }
        }
    }

    /// Starts or resumes a child workflow that this process runs as part of this one. Returns its context.
    pub async fn child(&self, name: &str, input: Option<Json>) -> Result<Self, DurableError> {
        let sequence = self.next_sequence();
        let sql = "SELECT workflow_id, created, lease FROM durable.start_child($1, $2, $3, $4, lease => $5)";
        let row = retry_db_write(|| async {
            let arguments: Vec<Value> =
                vec![self.task_id.into(), sequence.into(), name.into(), input.clone().into(), self.lease.into()];
            row(&self.db, sql, arguments).await
        })
        .await?;
        let child: Option<Uuid> = column(&row, 0)?;
        let child = child.ok_or_else(|| DurableError::Cancelled(format!("{name} was not started")))?;
        Ok(Self {
            executor_id: self.executor_id.clone(),
            driver: self.driver.clone(),
            ..Self::new(&self.db, child, column(&row, 2)?, column(&row, 1)?)
        })
    }

    /// Whether this workflow is completed: so a parent can pass over a child that is.
    pub async fn is_completed(&self) -> Result<bool, DurableError> {
        value(&self.db, "SELECT durable.is_completed($1)", vec![self.task_id.into()]).await
    }

    /// The output, if this workflow is completed.
    pub async fn get_output<T: DeserializeOwned>(&self) -> Result<Option<T>, DurableError> {
        let sql = "SELECT durable.is_completed($1), durable.output($1)";
        let row = row(&self.db, sql, vec![self.task_id.into()]).await?;
        if !column::<bool>(&row, 0)? {
            return Ok(None);
        }
        decode(column(&row, 1)?).map(Some)
    }

    /// Completes this workflow with an output.
    pub async fn complete<T: Serialize>(&self, output: &T) -> Result<(), DurableError> {
        let output = serde_json::to_value(output)?;
        let sql = "SELECT durable.complete($1, $2, $3)";
        retry_db_write(|| async {
            let arguments = vec![self.task_id.into(), output.clone().into(), self.lease.into()];
            value::<bool>(&self.db, sql, arguments).await.map(drop)
        })
        .await
    }

    /// Fails this workflow.
    pub async fn fail(&self, error: &str) -> Result<(), DurableError> {
        fail(&self.db, self.task_id, error, Some(self.lease)).await
    }

    /// Fails a workflow by its id, whoever drives it.
    pub async fn fail_by_id(db: &DatabaseConnection, task_id: Uuid, error: &str) -> Result<(), DurableError> {
        fail(db, task_id, error, None).await
    }

    /// Sets the timeout in milliseconds, counted from its start.
    pub async fn set_timeout(&self, timeout_ms: i64) -> Result<(), DurableError> {
        let sql = "SELECT durable.set_timeout($1, make_interval(secs => $2))";
        rows(&self.db, sql, vec![self.task_id.into(), seconds(timeout_ms).into()]).await.map(drop)
    }

    // ── Workflow control ──────────────────────────────────────────

    /// Pauses a workflow and all below it. Steps that run may still record their outcome.
    pub async fn pause(db: &DatabaseConnection, task_id: Uuid) -> Result<(), DurableError> {
        control(db, "pause_tree", task_id).await
    }

    /// Resumes a workflow that is paused, and all that was paused with it.
    pub async fn resume(db: &DatabaseConnection, task_id: Uuid) -> Result<(), DurableError> {
        control(db, "resume_tree", task_id).await
    }

    /// Cancels a workflow and all below it, for good.
    pub async fn cancel(db: &DatabaseConnection, task_id: Uuid) -> Result<(), DurableError> {
        control(db, "cancel_tree", task_id).await
    }

    /// Lets a failed workflow go on from its last completed step. Returns the name of its handler, which the caller runs.
    pub async fn resume_failed(db: &DatabaseConnection, task_id: Uuid) -> Result<Option<String>, DurableError> {
        let sql = "SELECT handler FROM durable.resume_failed($1, $2)";
        value(db, sql, vec![task_id.into(), crate::executor_id().into()]).await
    }

    // ── Looking ───────────────────────────────────────────────────

    /// Lists tasks.
    ///
    /// ```no_run
    /// # use durable::{Ctx, TaskQuery, TaskStatus};
    /// # async fn f(db: sea_orm::DatabaseConnection) -> Result<(), durable::DurableError> {
    /// let tasks = Ctx::list(&db, TaskQuery::default().status(TaskStatus::Running).limit(10)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn list(db: &DatabaseConnection, query: TaskQuery) -> Result<Vec<TaskSummary>, DurableError> {
        query::list(db, &query).await
    }

    /// Counts tasks.
    pub async fn count(db: &DatabaseConnection, query: TaskQuery) -> Result<u64, DurableError> {
        query::count(db, &query).await
    }

    /// The connections of this workflow.
    pub fn db(&self) -> &DatabaseConnection {
        &self.db
    }

    /// The id of this workflow.
    pub fn task_id(&self) -> Uuid {
        self.task_id
    }

    /// Takes the next position. A program that calls it has to call it in each run.
    pub fn next_sequence(&self) -> i32 {
        self.sequence.fetch_add(1, Ordering::SeqCst)
    }

    /// The input of this workflow.
    pub async fn input<T: DeserializeOwned>(&self) -> Result<T, DurableError> {
        let input: Option<Json> = value(&self.db, "SELECT durable.input($1)", vec![self.task_id.into()]).await?;
        let input = input.ok_or_else(|| DurableError::custom(format!("task {} has no input", self.task_id)))?;
        serde_json::from_value(input).map_err(|e| DurableError::custom(format!("failed to deserialize input: {e}")))
    }

    // ── One position ──────────────────────────────────────────────

    pub(crate) fn lease(&self) -> i32 {
        self.lease
    }

    /// The output at a position that was completed before this run, without a round trip.
    pub(crate) async fn replayed(
        &self,
        sequence: i32,
        name: &str,
        kind: &str,
    ) -> Result<Option<Option<Json>>, DurableError> {
        let history = self.history.get_or_try_init(|| read_history(&self.db, self.task_id)).await?;
        let recorded = history.get(&sequence).filter(|r| r.name == name && r.kind == kind);
        Ok(recorded.map(|recorded| recorded.output.clone()))
    }

    /// Asks for a wait until its outcome is recorded. One that lasts longer than a
    /// worker's patience gives the worker free; one that only time ends, at once.
    pub(crate) async fn until_settled<F, Fut>(
        &self,
        name: &str,
        only_time: bool,
        mut ask: F,
    ) -> Result<Option<Json>, DurableError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Claimed, DurableError>>,
    {
        let mut waited = Duration::ZERO;
        loop {
            let step = retry_db_write(&mut ask).await?;
            let (step_id, due) = (step.step_id, step.wait);
            let pause = match settled(name, step)? {
                Settled::Output(output) => return Ok(output),
                Settled::Wait(pause) if only_time => pause,
                // what an event ends is asked for more and more seldom
                Settled::Wait(pause) => pause.min(waited / 4 + Duration::from_millis(10)),
            };
            if let Some(driver) = &self.driver {
                let left = if only_time { due.unwrap_or_default() } else { 0.0 };
                if waited.as_secs_f64() + left > driver.patience.as_secs_f64() {
                    driver.suspend(&self.db, name, step_id).await?;
                }
            }
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }

    async fn claim(
        &self,
        sequence: i32,
        name: &str,
        kind: &str,
        policy: &RetryPolicy,
    ) -> Result<Claimed, DurableError> {
        let function = "durable.claim_step($1, $2, $3, kind => $4::text::durable.task_kind, lease => $5, \
                        executor_id => $6, max_retries => $7, backoff => make_interval(secs => $8), \
                        backoff_multiplier => $9)";
        retry_db_write(|| {
            let arguments: Vec<Value> = vec![
                self.task_id.into(),
                sequence.into(),
                name.into(),
                kind.into(),
                self.lease.into(),
                self.executor_id.clone().into(),
                i32::try_from(policy.max_retries).unwrap_or(i32::MAX).into(),
                policy.initial_backoff.as_secs_f64().into(),
                policy.backoff_multiplier.into(),
            ];
            claimed(&self.db, function, arguments)
        })
        .await
    }

    async fn record(
        &self,
        db: &impl sea_orm::ConnectionTrait,
        step: &Claimed,
        output: Json,
    ) -> Result<(), DurableError> {
        let arguments = vec![step.step_id.into(), output.into(), self.lease.into(), step.attempt.into()];
        value::<bool>(db, "SELECT durable.complete($1, $2, $3, $4)", arguments).await.map(drop)
    }

    /// Records that an attempt has failed; the pause before the next one, if there is one.
    async fn record_failure(&self, step: &Claimed, error: &DurableError) -> Result<Option<Duration>, DurableError> {
        let sql = "SELECT status::text, greatest(extract(epoch FROM run_at - clock_timestamp()), 0)::float8 \
                   FROM durable.fail($1, $2, $3, $4, detail => $5)";
        let row = retry_db_write(|| async {
            let arguments: Vec<Value> = vec![
                step.step_id.into(),
                error.text().into(),
                self.lease.into(),
                step.attempt.into(),
                error.detail().into(),
            ];
            row(&self.db, sql, arguments).await
        })
        .await?;
        let is_pending = column::<String>(&row, 0)? == "PENDING";
        Ok(is_pending.then_some(pause(column(&row, 1)?)))
    }
}

impl Driver {
    /// Gives the worker free, until that step has ended; the error ends this run of the
    /// program. Returns if the step has ended meanwhile.
    async fn suspend(&self, db: &DatabaseConnection, name: &str, step_id: Uuid) -> Result<(), DurableError> {
        let arguments: Vec<Value> =
            vec![self.task_id.into(), self.executor_id.clone().into(), self.lease.into(), vec![step_id].into()];
        let sql = "SELECT status::text FROM durable.suspend($1, $2, $3, $4)";
        match value::<String>(db, sql, arguments).await?.as_str() {
            "RUNNING" => Ok(()),
            _ => Err(DurableError::StepLocked(format!("suspended until {name} has ended"))),
        }
    }
}

/// What a position answers that is not to be run now.
enum Settled {
    Output(Option<Json>),
    Wait(Duration),
}

fn settled(name: &str, step: Claimed) -> Result<Settled, DurableError> {
    match step.action.as_str() {
        "REPLAY" => Ok(Settled::Output(step.output)),
        "FAILED" => Err(DurableError::recorded(step.error.unwrap_or_default(), step.detail.as_ref())),
        "WAIT" => Ok(Settled::Wait(pause(step.wait))),
        _ => Err(DurableError::StepLocked(name.to_owned())),
    }
}

/// How long to wait until what is due in so many seconds; where only an event ends it, a moment.
fn pause(seconds: Option<f64>) -> Duration {
    const LONGEST: f64 = 1.0;
    const SHORTEST: f64 = 0.002;
    Duration::from_secs_f64(seconds.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST))
}

/// Milliseconds as what `make_interval(secs)` takes.
#[allow(clippy::cast_precision_loss)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn decode<T: DeserializeOwned>(output: Option<Json>) -> Result<T, DurableError> {
    Ok(serde_json::from_value(output.unwrap_or(Json::Null))?)
}

async fn read_history(db: &DatabaseConnection, task_id: Uuid) -> Result<HashMap<i32, Recorded>, DurableError> {
    let sql = "SELECT sequence, name, kind::text, output FROM durable.history($1) WHERE status = 'COMPLETED'";
    let mut history = HashMap::new();
    for row in rows(db, sql, vec![task_id.into()]).await? {
        let recorded = Recorded { name: column(&row, 1)?, kind: column(&row, 2)?, output: column(&row, 3)? };
        history.insert(column(&row, 0)?, recorded);
    }
    Ok(history)
}

async fn fail(db: &DatabaseConnection, task_id: Uuid, error: &str, lease: Option<i32>) -> Result<(), DurableError> {
    retry_db_write(|| rows(db, "SELECT durable.fail($1, $2, $3)", vec![task_id.into(), error.into(), lease.into()]))
        .await
        .map(drop)
}

async fn control(db: &DatabaseConnection, function: &str, task_id: Uuid) -> Result<(), DurableError> {
    let changed: i64 = value(db, &format!("SELECT durable.{function}($1)"), vec![task_id.into()]).await?;
    tracing::info!(%task_id, changed, "{function}");
    Ok(())
}
