//! The context of a workflow: it counts the program's positions and asks the server at each.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use sea_orm::{DatabaseConnection, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::sync::{OnceCell, OwnedRwLockReadGuard};
use uuid::Uuid;

use crate::DurableError;
use crate::call::{Claimed, Refused, child, column, nullable, of_child, row, rows, value};
use crate::drive::{Busy, Driver};
use crate::error::Again;
use crate::executor::{RecoveredRun, RecoveredTask};
use crate::query::{self, TaskQuery, TaskSummary};
use crate::retry::retry_db_write;
use crate::step::{Settled, decode, settled};

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

/// A position that the history has.
pub(crate) struct Recorded {
    pub(crate) name: String,
    kind: String,
    wait: Option<String>,
    is_completed: bool,
    output: Option<Json>,
}

/// Context threaded through every workflow and step.
///
/// Each call that makes a step, a wait or a child takes the next position of the
/// workflow when it is made, in the order of the program. What is recorded at a
/// position is answered, and not done again.
pub struct Ctx {
    db: DatabaseConnection,
    task_id: Uuid,
    sequence: AtomicI32,
    /// so many random values were drawn since the last position was taken
    pub(crate) drawn: AtomicU32,
    executor_id: Option<String>,
    lease: i32,
    /// what was recorded before this run: read once, at the first position
    history: OnceCell<HashMap<i32, Recorded>>,
    /// of a workflow that a worker drives
    driver: Option<Arc<Driver>>,
    /// of one that `init` has recovered
    recovered: Option<Arc<RecoveredRun>>,
}

impl Ctx {
    pub(crate) fn new(db: &DatabaseConnection, task_id: Uuid, lease: i32, is_new: bool) -> Self {
        Self {
            db: db.clone(),
            task_id,
            sequence: AtomicI32::new(0),
            drawn: AtomicU32::new(0),
            executor_id: crate::executor_id(),
            lease,
            driver: None,
            recovered: None,
            history: if is_new { OnceCell::new_with(Some(HashMap::new())) } else { OnceCell::new() },
        }
    }

    /// The context of a workflow that a worker has claimed.
    pub(crate) fn driven(db: &DatabaseConnection, driver: &Arc<Driver>) -> Self {
        Self {
            executor_id: Some(driver.executor_id.clone()),
            driver: Some(driver.clone()),
            ..Self::new(db, driver.workflow_id, driver.lease, driver.lease == 1)
        }
    }

    /// The context of a workflow that `init` has recovered.
    pub(crate) fn recovered_by(db: &DatabaseConnection, task: &RecoveredTask, run: &Arc<RecoveredRun>) -> Self {
        Self { recovered: Some(run.clone()), ..Self::new(db, task.id, task.lease, false) }
    }

    /// The context of a child, which is driven as this one.
    fn of_child(&self, id: Uuid, lease: i32, is_new: bool) -> Self {
        Self {
            executor_id: self.executor_id.clone(),
            driver: self.driver.clone(),
            recovered: self.recovered.clone(),
            ..Self::new(&self.db, id, lease, is_new)
        }
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
        let _between = RecoveredRun::between_steps_of(name).await;
        let row = retry_db_write(|| async {
            let arguments: Vec<Value> = vec![
                name.into(),
                nullable(input.clone()),
                handler.map(str::to_owned).into(),
                crate::executor_id().into(),
                timeout_ms.map(seconds).into(),
            ];
            Ok(row(db, sql, arguments).await?)
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
        let _between = RecoveredRun::between_steps_of_id(task_id).await;
        let lease = value(db, sql, vec![task_id.into(), crate::executor_id().into()]).await?;
        Ok(Self::new(db, task_id, lease, false))
    }

    /// Starts or resumes a child workflow that this process runs as part of this one. Returns its context.
    pub fn child(&self, name: &str, input: Option<Json>) -> impl Future<Output = Result<Self, DurableError>> {
        let sequence = self.next_sequence();
        async move { Ok(self.start_child(sequence, name, input).await?.0) }
    }

    /// Runs a program as a child workflow, in this process: what it returns is its output, and what it raises
    /// its failure, which is the same on a replay.
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError};
    /// # async fn f(ctx: Ctx) -> Result<(), DurableError> {
    /// let shelf: u32 = ctx.run_child("reserve", None, |child| async move {
    ///     child.step("look", || async { Ok(7) }).await
    /// }).await?;
    /// # Ok(()) }
    /// ```
    pub fn run_child<T, F, Fut>(
        &self,
        name: &str,
        input: Option<Json>,
        program: F,
    ) -> impl Future<Output = Result<T, DurableError>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(Self) -> Fut,
        Fut: Future<Output = Result<T, DurableError>>,
    {
        let sequence = self.next_sequence();
        async move {
            if let Some(output) = self.replayed(sequence, name, "WORKFLOW", None).await? {
                return decode(output);
            }
            let (child, found) = self.start_child(sequence, name, input).await?;
            if let Settled::Output(output) = settled(name, found)? {
                return decode(output);
            }
            let this = self.of_child(child.task_id, child.lease, true);
            match program(child).await.and_then(|result| Ok(serde_json::to_value(result)?)) {
                Ok(output) => {
                    this.complete(&output).await?;
                    decode(Some(output))
                }
                Err(error) if error.is_interrupt() => Err(error),
                Err(error) => {
                    this.fail_with(&error).await?;
                    Err(DurableError::recorded(name, &error.record().0, None, None))
                }
            }
        }
    }

    async fn start_child(
        &self,
        sequence: i32,
        name: &str,
        input: Option<Json>,
    ) -> Result<(Self, Claimed), DurableError> {
        let row = self
            .ask(|| async {
                let input = nullable(input.clone());
                let arguments = vec![self.task_id.into(), sequence.into(), name.into(), input, self.lease.into()];
                child(&self.db, "$1, $2, $3, $4, lease => $5", arguments).await
            })
            .await?;
        let child: Option<Uuid> = column(&row, 0)?;
        let child = child.ok_or_else(|| DurableError::Cancelled(format!("{name} was not started")))?;
        let ctx = self.of_child(child, column(&row, 2)?, column(&row, 1)?);
        Ok((ctx, of_child(self.step_id(sequence), &row)?))
    }

    /// Whether this workflow is completed: so a parent can pass over a child that is.
    pub async fn is_completed(&self) -> Result<bool, DurableError> {
        self.ask(|| value(&self.db, "SELECT durable.is_completed($1)", vec![self.task_id.into()])).await
    }

    /// The output, if this workflow is completed.
    pub async fn get_output<T: DeserializeOwned>(&self) -> Result<Option<T>, DurableError> {
        let sql = "SELECT durable.is_completed($1), durable.output($1)";
        let row = self.ask(|| row(&self.db, sql, vec![self.task_id.into()])).await?;
        if !column::<bool>(&row, 0)? {
            return Ok(None);
        }
        decode(column(&row, 1)?).map(Some)
    }

    /// Completes this workflow with an output.
    pub async fn complete<T: Serialize>(&self, output: &T) -> Result<(), DurableError> {
        let output = serde_json::to_value(output)?;
        let sql = "SELECT durable.complete($1, $2, $3)";
        self.ask(|| async {
            let arguments = vec![self.task_id.into(), nullable(Some(output.clone())), self.lease.into()];
            value::<bool>(&self.db, sql, arguments).await
        })
        .await?;
        self.ended();
        Ok(())
    }

    /// Fails this workflow.
    pub async fn fail(&self, error: &str) -> Result<(), DurableError> {
        let sql = "SELECT durable.fail($1, $2, $3)";
        self.ask(|| rows(&self.db, sql, vec![self.task_id.into(), error.into(), self.lease.into()])).await?;
        self.ended();
        Ok(())
    }

    /// Fails this workflow with an error that keeps its type.
    pub(crate) async fn fail_with(&self, error: &DurableError) -> Result<(), DurableError> {
        let sql = "SELECT durable.fail($1, $2, $3, detail => $4, retryable => $5)";
        let (text, parts) = error.record();
        let retryable = error.again() != Again::Never;
        self.ask(|| async {
            let arguments: Vec<Value> = vec![
                self.task_id.into(),
                text.clone().into(),
                self.lease.into(),
                parts.clone().into(),
                retryable.into(),
            ];
            rows(&self.db, sql, arguments).await
        })
        .await?;
        self.ended();
        Ok(())
    }

    /// Ends this run of a root workflow, without an output, and starts the next one of its name with that input. The
    /// program returns then.
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError};
    /// #[durable::workflow]
    /// async fn count_down(ctx: Ctx, n: u32) -> Result<(), DurableError> {
    ///     if n > 0 {
    ///         return ctx.continue_as(&(n - 1)).await;
    ///     }
    ///     ctx.complete(&"lift-off").await
    /// }
    /// # fn main() {}
    /// ```
    pub async fn continue_as<T: Serialize>(&self, input: &T) -> Result<(), DurableError> {
        let input = serde_json::to_value(input)?;
        let sql = "SELECT workflow_id FROM durable.continue_as($1, $2, $3)";
        self.ask(|| rows(&self.db, sql, vec![self.task_id.into(), input.clone().into(), self.lease.into()])).await?;
        self.ended();
        Ok(())
    }

    /// The program of a worker has recorded how it ends.
    fn ended(&self) {
        if let Some(driver) = self.driver.as_ref().filter(|driver| driver.workflow_id == self.task_id) {
            driver.end();
        }
    }

    /// Fails a workflow by its id, whoever drives it.
    pub async fn fail_by_id(db: &DatabaseConnection, task_id: Uuid, error: &str) -> Result<(), DurableError> {
        retry_db_write(|| async {
            Ok(rows(db, "SELECT durable.fail($1, $2)", vec![task_id.into(), error.into()]).await?)
        })
        .await
        .map(drop)
    }

    /// Sets the timeout in milliseconds, counted from its start.
    pub async fn set_timeout(&self, timeout_ms: i64) -> Result<(), DurableError> {
        let sql = "SELECT durable.set_timeout($1, make_interval(secs => $2))";
        self.ask(|| rows(&self.db, sql, vec![self.task_id.into(), seconds(timeout_ms).into()])).await.map(drop)
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
        Ok(value(db, sql, vec![task_id.into(), crate::executor_id().into()]).await?)
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
        self.take(1)
    }

    /// The input of this workflow.
    pub async fn input<T: DeserializeOwned>(&self) -> Result<T, DurableError> {
        let input = self.ask(|| value(&self.db, "SELECT durable.input($1)", vec![self.task_id.into()])).await?;
        decode(input).map_err(|error| DurableError::custom(format!("input of task {}: {error}", self.task_id)))
    }

    // ── What steps and waits need ─────────────────────────────────

    pub(crate) fn lease(&self) -> i32 {
        self.lease
    }

    pub(crate) fn executor(&self) -> Option<&String> {
        self.executor_id.as_ref()
    }

    pub(crate) fn driver(&self) -> Option<&Driver> {
        self.driver.as_deref()
    }

    /// Held while a step runs.
    pub(crate) async fn while_step(&self) -> Option<OwnedRwLockReadGuard<()>> {
        match &self.recovered {
            Some(run) => Some(run.step().await),
            None => None,
        }
    }

    /// Takes so many positions: the first.
    pub(crate) fn take(&self, count: i32) -> i32 {
        self.drawn.store(0, Ordering::SeqCst);
        self.sequence.fetch_add(count, Ordering::SeqCst)
    }

    /// The next position, which is not taken.
    pub(crate) fn position(&self) -> i32 {
        self.sequence.load(Ordering::SeqCst)
    }

    /// The id of what stands at a position.
    pub(crate) fn step_id(&self, sequence: i32) -> Uuid {
        let place = u128::try_from(sequence + 1).unwrap_or_default();
        Uuid::from_u128((self.task_id.as_u128() & !0xff_ffff) | place)
    }

    /// What was recorded at a position before this run.
    pub(crate) async fn recorded(&self, sequence: i32) -> Result<Option<&Recorded>, DurableError> {
        let history =
            self.history.get_or_try_init(|| async { read_history(&self.ask(|| read(&self.db, self.task_id)).await?) });
        Ok(history.await?.get(&sequence))
    }

    /// The output at a position that was completed before this run, without a round trip.
    pub(crate) async fn replayed(
        &self,
        sequence: i32,
        name: &str,
        kind: &str,
        wait: Option<&str>,
    ) -> Result<Option<Option<Json>>, DurableError> {
        let recorded = self.recorded(sequence).await?;
        let is_it = |r: &&Recorded| r.is_completed && r.name == name && r.kind == kind && r.wait.as_deref() == wait;
        Ok(recorded.filter(is_it).map(|recorded| recorded.output.clone()))
    }

    /// Calls for the program: until the server answers where a worker drives it, else a few times.
    pub(crate) async fn ask<T, Fut>(&self, call: impl Fn() -> Fut) -> Result<T, DurableError>
    where
        Fut: Future<Output = Result<T, Refused>>,
    {
        match self.driver() {
            Some(driver) => driver.ask(call).await,
            None => retry_db_write(|| async { Ok(call().await?) }).await,
        }
    }

    /// The same for what has run meanwhile.
    pub(crate) async fn record<T, Fut>(&self, busy: Option<Busy<'_>>, call: impl Fn() -> Fut) -> Result<T, DurableError>
    where
        Fut: Future<Output = Result<T, Refused>>,
    {
        match self.driver().zip(busy) {
            Some((driver, busy)) => driver.record(busy, call).await,
            None => retry_db_write(|| async { Ok(call().await?) }).await,
        }
    }
}

/// Milliseconds as what `make_interval(secs)` takes.
#[allow(clippy::cast_precision_loss)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

async fn read(db: &DatabaseConnection, task_id: Uuid) -> Result<Vec<sea_orm::QueryResult>, Refused> {
    let sql = "SELECT sequence, name, kind::text, wait, status = 'COMPLETED', output FROM durable.history($1)";
    rows(db, sql, vec![task_id.into()]).await
}

fn read_history(rows: &[sea_orm::QueryResult]) -> Result<HashMap<i32, Recorded>, DurableError> {
    let mut history = HashMap::new();
    for row in rows {
        let recorded = Recorded {
            name: column(row, 1)?,
            kind: column(row, 2)?,
            wait: column(row, 3)?,
            is_completed: column(row, 4)?,
            output: column(row, 5)?,
        };
        history.insert(column(row, 0)?, recorded);
    }
    Ok(history)
}

async fn control(db: &DatabaseConnection, function: &str, task_id: Uuid) -> Result<(), DurableError> {
    let changed: i64 = value(db, &format!("SELECT durable.{function}($1)"), vec![task_id.into()]).await?;
    tracing::info!(%task_id, changed, "{function}");
    Ok(())
}
