//! A worker for queues: it claims workflows, and runs the functions that are registered as their handlers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, Value};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use uuid::Uuid;

use crate::call::{column, rows, value};
use crate::ctx::Driver;
use crate::executor::find_workflow;
use crate::{Ctx, DurableError, WorkflowRegistration};

/// What a worker runs: the lease of each workflow, and what stops it.
type Running = Arc<Mutex<HashMap<Uuid, (i32, AbortHandle)>>>;

/// Runs the workflows of some queues.
pub struct Worker {
    database_url: String,
    db: DatabaseConnection,
    queues: Vec<String>,
    concurrency: usize,
    grace: Duration,
    patience: Duration,
    executor_id: String,
}

impl Worker {
    /// A worker of those queues: an executor of its own, with connections of its own.
    pub async fn new(database_url: &str, queues: &[&str]) -> Result<Self, DurableError> {
        Ok(Self {
            database_url: database_url.to_owned(),
            db: crate::init_db(database_url).await?,
            queues: queues.iter().map(|&queue| queue.to_owned()).collect(),
            concurrency: 10,
            grace: Duration::from_secs(30),
            patience: Duration::from_secs(5),
            executor_id: format!("worker-{}-{}", std::process::id(), Uuid::new_v4()),
        })
    }

    /// So many workflows at once: 10.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// How long workflows may go on after the worker was told to stop: 30 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// A workflow that waits for longer gives its place free: 5 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs until SIGTERM or Ctrl-C, then claims no more, lets what runs go on for the grace, and hands the rest back.
    pub async fn run(self) -> Result<(), DurableError> {
        let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(|error| DurableError::custom(error.to_string()))?;
        self.run_until(async move {
            tokio::select! {
                _ = terminated.recv() => (),
                _ = tokio::signal::ctrl_c() => (),
            }
        })
        .await
    }

    /// Like [`run`](Self::run), until the future has ended.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), DurableError> {
        let room = Arc::new(Semaphore::new(self.concurrency));
        let running = Running::default();
        let mut tasks = JoinSet::new();
        tokio::pin!(stop);
        let mut pause = Duration::from_millis(100);
        loop {
            let round = async {
                let waiter = self.waiter().await?;
                loop {
                    self.round(&waiter, &room, &running, &mut tasks).await?;
                }
            };
            let result: Result<(), DurableError> = tokio::select! {
                () = &mut stop => break,
                result = round => result,
            };
            if let Err(error) = result {
                tracing::warn!(%error, "worker: trying again");
                tokio::select! {
                    () = &mut stop => break,
                    () = tokio::time::sleep(jittered(pause)) => (),
                }
                pause = (pause * 2).min(Duration::from_secs(10));
            }
        }
        let drained = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(self.grace, drained).await;
        tasks.shutdown().await;
        value::<i64>(&self.db, "SELECT durable.release($1)", vec![self.executor_id.clone().into()]).await.map(drop)
    }

    /// A session of its own, to wait in: the executor is bound to it.
    async fn waiter(&self) -> Result<DatabaseConnection, DurableError> {
        let mut options = ConnectOptions::new(&self.database_url);
        options.max_connections(1).sqlx_logging(false);
        Ok(Database::connect(options).await?)
    }

    /// Waits for a reason, and does what it asks for.
    async fn round(
        &self,
        waiter: &DatabaseConnection,
        room: &Arc<Semaphore>,
        running: &Running,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), DurableError> {
        // full: news only, by a short wait that asks for no queue's work
        let free = room.available_permits();
        let queues = if free > 0 { self.queues.clone() } else { vec![] };
        let sql = "CALL durable.wait_for_work($1, $2, make_interval(secs => $3), true)";
        let timeout = if free > 0 { 10.0 } else { 0.2 };
        let wait = value(waiter, sql, vec![self.executor_id.clone().into(), queues.into(), timeout.into()]);
        tokio::pin!(wait);
        let mut is_more = free == 0;
        let reason: String = loop {
            tokio::select! {
                reason = &mut wait => break reason?,
                // meanwhile, a place that is free again is filled, as long as there is work
                place = room.acquire(), if is_more => {
                    drop(place);
                    is_more = self.fill(room, running, tasks).await?;
                }
            }
        };
        self.look_for_news(running).await?;
        while tasks.try_join_next().is_some() {}
        if free > 0 && reason != "news" {
            self.fill(room, running, tasks).await?;
        }
        Ok(())
    }

    /// Takes as many as there are free places, if there are; whether there may be more.
    async fn fill(
        &self,
        room: &Arc<Semaphore>,
        running: &Running,
        tasks: &mut JoinSet<()>,
    ) -> Result<bool, DurableError> {
        let free = room.available_permits();
        let taken = self.take(free).await?;
        let is_more = taken.len() == free;
        for (workflow, id, lease) in taken {
            self.spawn(workflow, id, lease, room, running, tasks);
        }
        Ok(is_more)
    }

    /// Stops what the worker does not own any more, and hands back what it owns and does
    /// not run: a pause that was resumed, the lost reply of a claim.
    async fn look_for_news(&self, running: &Running) -> Result<(), DurableError> {
        let (ids, leases): (Vec<Uuid>, Vec<i32>) = lock(running).iter().map(|(id, (lease, _))| (*id, *lease)).unzip();
        let sql = "SELECT workflow_id, status::text, lease FROM durable.heartbeat($1, $2, $3)";
        let arguments: Vec<Value> = vec![self.executor_id.clone().into(), ids.clone().into(), leases.into()];
        for row in rows(&self.db, sql, arguments).await? {
            let id: Uuid = column(&row, 0)?;
            let status: Option<String> = column(&row, 1)?;
            let lease: Option<i32> = column(&row, 2)?;
            if !ids.contains(&id) {
                let arguments = vec![self.executor_id.clone().into(), id.into()];
                value::<i64>(&self.db, "SELECT durable.release($1, $2)", arguments).await?;
            } else if let Some((ours, handle)) = lock(running).get(&id) {
                // a pause keeps the lease: the program's next call answers it
                if lease != Some(*ours) || status.as_deref() == Some("CANCELLED") {
                    handle.abort();
                }
            }
        }
        Ok(())
    }

    /// Takes over what is dead or released, then claims: at most so many.
    async fn take(&self, most: usize) -> Result<Vec<(&'static WorkflowRegistration, Uuid, i32)>, DurableError> {
        let handlers: Vec<String> =
            inventory::iter::<WorkflowRegistration>().map(|workflow| workflow.name.to_owned()).collect();
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let recover = "SELECT workflow_id, handler, lease FROM durable.recover($1, $2, handlers => $3)";
        let arguments: Vec<Value> = vec![self.executor_id.clone().into(), most.into(), handlers.clone().into()];
        let mut taken = rows(&self.db, recover, arguments).await?;
        let most = most - i32::try_from(taken.len()).unwrap_or(most);
        let claim = "SELECT workflow_id, handler, lease FROM durable.claim_from($1, $2, $3, handlers => $4)";
        let arguments: Vec<Value> =
            vec![self.queues.clone().into(), self.executor_id.clone().into(), most.into(), handlers.into()];
        if most > 0 {
            taken.extend(rows(&self.db, claim, arguments).await?);
        }
        let mut workflows = Vec::new();
        for row in &taken {
            let handler: Option<String> = column(row, 1)?;
            if let Some(workflow) = handler.as_deref().and_then(find_workflow) {
                workflows.push((workflow, column(row, 0)?, column(row, 2)?));
            }
        }
        Ok(workflows)
    }

    fn spawn(
        &self,
        workflow: &'static WorkflowRegistration,
        id: Uuid,
        lease: i32,
        room: &Arc<Semaphore>,
        running: &Running,
        tasks: &mut JoinSet<()>,
    ) {
        let Ok(place) = room.clone().try_acquire_owned() else { return };
        let driver = Driver { task_id: id, lease, executor_id: self.executor_id.clone(), patience: self.patience };
        let ctx = Ctx::driven(&self.db, driver);
        let (db, ours) = (self.db.clone(), running.clone());
        // held until its entry is there, which it takes away at its end
        let mut entries = lock(running);
        let handle = tasks.spawn(async move {
            let _place = place;
            let _entry = Entry { running: ours, id };
            if let Err(error) = (workflow.resume_fn)(ctx).await {
                settle_error(&db, id, lease, &error).await;
            }
        });
        entries.insert(id, (lease, handle));
    }
}

/// What is not poisoned by a panic: no panic happens while it is held.
fn lock(running: &Running) -> std::sync::MutexGuard<'_, HashMap<Uuid, (i32, AbortHandle)>> {
    running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Takes a workflow from what runs, however it ends: also by a panic, or when it is stopped.
struct Entry {
    running: Running,
    id: Uuid,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.id);
    }
}

/// A workflow that has raised an error is failed with it, unless that says only that it
/// cannot go on here now; the next heartbeat hands it back, if the worker still owns it.
async fn settle_error(db: &DatabaseConnection, id: Uuid, lease: i32, error: &DurableError) {
    let ends = !matches!(error, DurableError::StepLocked(_) | DurableError::Paused(_) | DurableError::Db(_));
    tracing::warn!(%id, %error, ends, "a workflow has raised an error");
    if ends {
        let arguments: Vec<Value> = vec![id.into(), error.text().into(), lease.into(), error.detail().into()];
        let sql = "SELECT durable.fail($1, $2, $3, detail => $4)";
        if let Err(error) = rows(db, sql, arguments).await {
            tracing::warn!(%id, %error, "its failure was not recorded");
        }
    }
}

/// Between half and all of it.
fn jittered(pause: Duration) -> Duration {
    let random = Uuid::new_v4().as_bytes()[0];
    pause / 2 + pause * u32::from(random) / 512
}
