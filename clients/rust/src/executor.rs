//! A process that drives workflows: its identity, its heartbeat, and what it recovers at its start.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sea_orm::{ConnectOptions, DatabaseConnection, Value};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};
use uuid::Uuid;

use crate::call::{column, rows, value};
use crate::{Ctx, DurableError, pooler};

static EXECUTOR_ID: RwLock<Option<String>> = RwLock::new(None);

/// The id of this executor, which [`init`] gives; `None` before.
pub fn executor_id() -> Option<String> {
    EXECUTOR_ID.read().ok().and_then(|id| id.clone())
}

/// How often an executor shows that it is alive, and after what silence it counts as dead.
#[derive(Debug, Clone)]
pub struct HeartbeatConfig {
    /// the pause between heartbeats: 60 s
    pub heartbeat_interval: Duration,
    /// executors that were silent for longer lose their workflows: 180 s
    pub staleness_threshold: Duration,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self { heartbeat_interval: Duration::from_secs(60), staleness_threshold: Duration::from_secs(180) }
    }
}

/// A workflow that was taken over from a dead executor.
#[derive(Debug, Clone)]
pub struct RecoveredTask {
    /// its id, for [`Ctx::from_id`]
    pub id: Uuid,
    /// the workflow above it, if it is a child
    pub parent_id: Option<Uuid>,
    /// its name
    pub name: String,
    /// always `WORKFLOW`
    pub kind: String,
    /// the function that runs it
    pub handler: Option<String>,
    /// under this lease it is ours
    pub lease: i32,
}

/// Runs a workflow from its beginning, as a replay.
pub type ResumeFn = fn(Ctx) -> Pin<Box<dyn Future<Output = Result<(), DurableError>> + Send>>;

/// A function that `#[durable::workflow]` has registered.
pub struct WorkflowRegistration {
    /// the name of the function: the handler of its workflows
    pub name: &'static str,
    /// runs it
    pub resume_fn: ResumeFn,
}

inventory::collect!(WorkflowRegistration);

/// The function that is registered under a name.
pub fn find_workflow(name: &str) -> Option<&'static WorkflowRegistration> {
    inventory::iter::<WorkflowRegistration>().find(|workflow| workflow.name == name)
}

/// Connects to a database that has the extension.
pub async fn init_db(database_url: &str) -> Result<DatabaseConnection, DurableError> {
    let db = pooler::connect(ConnectOptions::new(database_url)).await?;
    let sql = "SELECT (SELECT extversion FROM pg_extension WHERE extname = 'durable')";
    match value::<Option<String>>(&db, sql, vec![]).await? {
        Some(_) => Ok(db),
        None => Err(DurableError::custom("the database has no extension durable: CREATE EXTENSION durable")),
    }
}

/// Connects, becomes an executor that shows its heartbeat, and takes over what dead
/// executors have left. Those workflows whose function is registered are run at once, in
/// the background; the others are for the caller to run, after [`Ctx::from_id`], but for
/// those of queues, which are left to workers that have their function. A program
/// that starts one of them by its name as well takes it over from there, between two of
/// its steps: the later run goes on, the earlier one ends.
///
/// ```no_run
/// # async fn f() -> Result<(), durable::DurableError> {
/// let (db, recovered) = durable::init("postgres://localhost/mydb").await?;
/// # Ok(()) }
/// ```
pub async fn init(database_url: &str) -> Result<(DatabaseConnection, Vec<RecoveredTask>), DurableError> {
    init_with_config(database_url, HeartbeatConfig::default()).await
}

/// Like [`init`], with other times.
pub async fn init_with_config(
    database_url: &str,
    config: HeartbeatConfig,
) -> Result<(DatabaseConnection, Vec<RecoveredTask>), DurableError> {
    let db = init_db(database_url).await?;
    let executor_id = format!("{}-{}", std::process::id(), Uuid::new_v4());
    if let Ok(mut id) = EXECUTOR_ID.write() {
        *id = Some(executor_id.clone());
    }
    let executor = Executor::new(db.clone(), executor_id);
    executor.heartbeat().await?;
    executor.start_heartbeat(&config);
    let recovered = executor.recover(config.staleness_threshold).await?;
    for task in &recovered {
        match find_workflow(task.handler.as_deref().unwrap_or(&task.name)) {
            Some(workflow) => dispatch(&db, task, workflow),
            None => executor.leave(task).await?,
        }
    }
    Ok((db, recovered))
}

/// Runs a recovered workflow in the background.
fn dispatch(db: &DatabaseConnection, task: &RecoveredTask, workflow: &WorkflowRegistration) {
    let run = Arc::new(RecoveredRun { id: task.id, name: task.name.clone(), steps: Arc::default() });
    runs().push(run.clone());
    let program = (workflow.resume_fn)(Ctx::recovered_by(db, task, &run));
    tokio::spawn(async move {
        let outcome = program.await;
        runs().retain(|one| !Arc::ptr_eq(one, &run));
        if let Err(error) = outcome {
            tracing::error!(id = %run.id, %error, "a recovered workflow has ended with an error");
        }
    });
}

static RUNS: Mutex<Vec<Arc<RecoveredRun>>> = Mutex::new(Vec::new());

fn runs() -> std::sync::MutexGuard<'static, Vec<Arc<RecoveredRun>>> {
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A workflow that this process has recovered and runs. A later run of this process takes it over when none of its
/// steps runs: so a process that lives cuts no step off, and runs none twice.
#[derive(Debug)]
pub(crate) struct RecoveredRun {
    id: Uuid,
    name: String,
    steps: Arc<tokio::sync::RwLock<()>>,
}

impl RecoveredRun {
    /// Held while a step runs.
    pub(crate) async fn step(&self) -> OwnedRwLockReadGuard<()> {
        self.steps.clone().read_owned().await
    }

    /// Waits until no step of the one of that id runs; none begins while this is held.
    pub(crate) async fn between_steps_of_id(id: Uuid) -> Option<OwnedRwLockWriteGuard<()>> {
        Self::between_steps(|run| run.id == id).await
    }

    /// The same by its name.
    pub(crate) async fn between_steps_of(name: &str) -> Option<OwnedRwLockWriteGuard<()>> {
        Self::between_steps(|run| run.name == name).await
    }

    async fn between_steps(is_it: impl Fn(&Self) -> bool) -> Option<OwnedRwLockWriteGuard<()>> {
        let steps = runs().iter().find(|run| is_it(run)).map(|run| run.steps.clone());
        match steps {
            Some(steps) => Some(steps.write_owned().await),
            None => None,
        }
    }
}

/// Lets a failed workflow go on from its last completed step, in this process.
pub async fn resume_workflow(db: &DatabaseConnection, task_id: Uuid) -> Result<(), DurableError> {
    let handler = Ctx::resume_failed(db, task_id).await?;
    let handler = handler.ok_or_else(|| DurableError::custom(format!("workflow {task_id} has no handler")))?;
    let workflow =
        find_workflow(&handler).ok_or_else(|| DurableError::custom(format!("no function {handler} is registered")))?;
    (workflow.resume_fn)(Ctx::from_id(db, task_id).await?).await
}

/// An executor: the rows of a process.
#[derive(Debug, Clone)]
pub struct Executor {
    db: DatabaseConnection,
    executor_id: String,
}

impl Executor {
    /// An executor of that id. One process uses it at a time.
    pub fn new(db: DatabaseConnection, executor_id: String) -> Self {
        Self { db, executor_id }
    }

    /// Its connections.
    pub fn db(&self) -> &DatabaseConnection {
        &self.db
    }

    /// Its id.
    pub fn executor_id(&self) -> &str {
        &self.executor_id
    }

    /// Shows that it is alive.
    pub async fn heartbeat(&self) -> Result<(), DurableError> {
        rows(&self.db, "SELECT durable.heartbeat($1)", vec![self.executor_id.clone().into()]).await?;
        Ok(())
    }

    /// Shows it again and again, in the background.
    pub fn start_heartbeat(&self, config: &HeartbeatConfig) -> tokio::task::JoinHandle<()> {
        let (executor, interval) = (self.clone(), config.heartbeat_interval);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                if let Err(error) = executor.heartbeat().await {
                    tracing::warn!(%error, "heartbeat failed");
                }
            }
        })
    }

    /// Takes over what executors have left that were silent for that long.
    pub async fn recover(&self, stale_after: Duration) -> Result<Vec<RecoveredTask>, DurableError> {
        let sql = "SELECT workflow_id, parent_id, name, handler, lease \
                   FROM durable.recover($1, stale_after => make_interval(secs => $2))";
        let arguments: Vec<Value> = vec![self.executor_id.clone().into(), stale_after.as_secs_f64().into()];
        let mut recovered = Vec::new();
        for row in rows(&self.db, sql, arguments).await? {
            recovered.push(RecoveredTask {
                id: column(&row, 0)?,
                parent_id: column(&row, 1)?,
                name: column(&row, 2)?,
                kind: "WORKFLOW".to_owned(),
                handler: column(&row, 3)?,
                lease: column(&row, 4)?,
            });
        }
        Ok(recovered)
    }

    /// Leaves what cannot be run here to the workers of its queue; what has none, to the caller.
    async fn leave(&self, task: &RecoveredTask) -> Result<(), DurableError> {
        let sql =
            "SELECT durable.release($1, w.id) FROM durable.workflow w WHERE w.id = $2 AND w.queue_name IS NOT NULL";
        let left = rows(&self.db, sql, vec![self.executor_id.clone().into(), task.id.into()]).await?;
        if left.is_empty() {
            tracing::warn!(
                workflow = task.name,
                handler = task.handler,
                "recovered, but no such function is registered"
            );
        }
        Ok(())
    }

    /// Hands back all that it drives: before a process ends.
    pub async fn release(&self) -> Result<i64, DurableError> {
        Ok(value(&self.db, "SELECT durable.release($1)", vec![self.executor_id.clone().into()]).await?)
    }
}
