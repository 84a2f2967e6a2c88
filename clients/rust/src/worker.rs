//! A worker for queues: it claims workflows, and runs the functions that are their handlers.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use sea_orm::{ConnectOptions, DatabaseConnection, Value};
use serde::Serialize;
use serde_json::Value as Json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::call::{Refused, column, rows, value};
use crate::drive::{Driver, Reason, Stop, jittered};
use crate::error::{is_lost, refusal};
use crate::retry::retry_db_write;
use crate::step::caught;
use crate::{Ctx, DurableError, WorkflowRegistration, pooler};

/// Runs a workflow: its output, if it has not recorded how it ends.
type Handler = Arc<dyn Fn(Ctx) -> Pin<Box<dyn Future<Output = Result<Json, DurableError>> + Send>> + Send + Sync>;

/// Runs the workflows of some queues.
pub struct Worker {
    database_url: String,
    db: DatabaseConnection,
    handlers: HashMap<String, Handler>,
    queues: Vec<String>,
    concurrency: usize,
    grace: Duration,
    patience: Duration,
    executor_id: String,
}

impl Worker {
    /// A worker of those queues, for the functions with the attribute `#[durable::workflow]`: an executor of its own,
    /// with connections of its own. Queues that are not there are made, if that is allowed.
    pub async fn new(database_url: &str, queues: &[&str]) -> Result<Self, DurableError> {
        let registered = inventory::iter::<WorkflowRegistration>().map(|workflow| {
            let run = workflow.resume_fn;
            let handler: Handler = Arc::new(move |ctx| {
                let run = run(ctx);
                Box::pin(async move { run.await.map(|()| Json::Null) })
            });
            (workflow.name.to_owned(), handler)
        });
        let db = crate::init_db(database_url).await?;
        for &queue in queues {
            let made = rows(&db, "SELECT durable.create_queue($1, if_exists => 'keep')", vec![queue.into()]).await;
            // where it is not allowed to, somebody else has to
            made.map(drop).or_else(|refused| match refusal(&refused.0) {
                Some((state, _)) if state == "42501" => Ok(()),
                _ => Err(refused),
            })?;
        }
        Ok(Self {
            database_url: database_url.to_owned(),
            db,
            handlers: registered.collect(),
            queues: queues.iter().map(|&queue| queue.to_owned()).collect(),
            concurrency: 10,
            grace: Duration::from_secs(30),
            patience: Duration::from_secs(5),
            executor_id: format!("worker-{}-{}", std::process::id(), Uuid::new_v4()),
        })
    }

    /// Runs the workflows with that handler by a function. What it returns is the output, unless it has called
    /// [`Ctx::complete`], [`Ctx::fail`] or [`Ctx::continue_as`].
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError, Worker};
    /// # async fn f() -> Result<(), DurableError> {
    /// let greeting = "hello".to_owned();
    /// let worker = Worker::new("postgres://localhost/shop", &["mail"]).await?.workflow("greet", move |ctx: Ctx| {
    ///     let greeting = greeting.clone();
    ///     async move { Ok(format!("{greeting}, {}", ctx.input::<String>().await?)) }
    /// });
    /// worker.run().await
    /// # }
    /// ```
    pub fn workflow<T, F, Fut>(mut self, handler: &str, run: F) -> Self
    where
        T: Serialize,
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, DurableError>> + Send + 'static,
    {
        let run: Handler = Arc::new(move |ctx| {
            let run = run(ctx);
            Box::pin(async move { Ok(serde_json::to_value(run.await?)?) })
        });
        self.handlers.insert(handler.to_owned(), run);
        self
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

    /// Its name as an executor; no two processes at once may share it.
    pub fn executor_id(mut self, executor_id: &str) -> Self {
        executor_id.clone_into(&mut self.executor_id);
        self
    }

    /// Runs until SIGTERM or Ctrl-C, then claims no more, lets steps that run end within the grace, and hands all back;
    /// at once, if it is told so again.
    pub async fn run(self) -> Result<(), DurableError> {
        let of_system = |error: std::io::Error| DurableError::custom(error.to_string());
        let mut terminated = signal(SignalKind::terminate()).map_err(of_system)?;
        let mut interrupted = signal(SignalKind::interrupt()).map_err(of_system)?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let mut told = async || {
            tokio::select! {
                _ = terminated.recv() => (),
                _ = interrupted.recv() => (),
            }
        };
        let twice = async {
            told().await;
            let _ = stop.send(());
            told().await;
        };
        self.serve(async { stopped.await.unwrap_or(()) }, twice).await
    }

    /// Like [`run`](Self::run), until the future has ended.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), DurableError> {
        self.serve(stop, std::future::pending()).await
    }

    async fn serve(self, stop: impl Future<Output = ()>, now: impl Future<Output = ()>) -> Result<(), DurableError> {
        let places = Arc::new(Semaphore::new(self.concurrency));
        let work = Arc::new(Work { worker: self, places, runs: Mutex::default(), is_full: AtomicBool::new(false) });
        tokio::pin!(now);
        let stop = async {
            tokio::select! {
                () = stop => false,
                () = &mut now => true,
            }
        };
        let is_now = tokio::select! {
            told = stop => told,
            () = work.listen() => false,
        };
        work.drain(async {
            if !is_now {
                now.await;
            }
        })
        .await;
        let Worker { db, executor_id, .. } = &work.worker;
        let release = "SELECT durable.release($1)";
        let released =
            retry_db_write(|| async { Ok(value::<i64>(db, release, vec![executor_id.clone().into()]).await?) }).await;
        if let Err(error) = released {
            tracing::warn!(%error, "what it has is taken from it later");
        }
        Ok(())
    }
}

/// What a worker does.
struct Work {
    worker: Worker,
    places: Arc<Semaphore>,
    runs: Mutex<HashMap<Uuid, Arc<Driver>>>,
    /// the session waits for news only: who frees a place claims
    is_full: AtomicBool,
}

impl Work {
    fn runs(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Driver>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work, in one session after the other, for ever.
    async fn listen(self: &Arc<Self>) {
        let mut pause = Duration::from_millis(100);
        loop {
            let session = async {
                let waiter = self.waiter().await?;
                loop {
                    self.round(&waiter).await?;
                    pause = Duration::from_millis(100);
                }
            };
            let ended: Result<(), DurableError> = session.await;
            if let Err(error) = ended {
                tracing::warn!(%error, "worker: trying again");
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// A session of its own, to wait in: the executor is bound to it.
    async fn waiter(&self) -> Result<DatabaseConnection, DurableError> {
        let mut options = ConnectOptions::new(&self.worker.database_url);
        options.max_connections(1);
        Ok(pooler::connect(options).await?)
    }

    /// Waits for a reason, and does what it asks for. Behind a pooler it neither waits in a session nor is bound to one,
    /// which is another's the next time: it shows that it is alive, and looks at everything, again and again.
    async fn round(self: &Arc<Self>, waiter: &DatabaseConnection) -> Result<(), DurableError> {
        // full: news only, by a wait that asks for no queue's work
        let is_full = self.places.available_permits() == 0;
        self.is_full.store(is_full, Ordering::SeqCst);
        let is_pooled = pooler::behind(waiter).await?.is_some();
        let (queues, timeout) = match (is_pooled, is_full) {
            (true, _) => (vec![], 0.0),
            (false, true) => (vec![], 0.2),
            (false, false) => (self.worker.queues.clone(), 10.0),
        };
        if is_pooled {
            tokio::time::sleep(pooler::LOOK).await;
        }
        let sql = "CALL durable.wait_for_work($1, $2, make_interval(secs => $3), $4)";
        let executor = self.worker.executor_id.clone();
        let arguments: Vec<Value> = vec![executor.into(), queues.into(), timeout.into(), (!is_pooled).into()];
        let reason: String = value(waiter, sql, arguments).await?;
        // by this session, which lives if the executor does: so it takes nothing over from itself
        if is_pooled || reason != "work" {
            self.look_for_news(waiter).await?;
        }
        if !self.fill(waiter).await? || is_pooled {
            self.take_over(waiter).await?;
        }
        Ok(())
    }

    /// Stops what the worker does not own any more, hands back what it owns and does not run (a pause that was resumed,
    /// the lost reply of a claim), and lets all that waits look again.
    async fn look_for_news(&self, db: &DatabaseConnection) -> Result<(), DurableError> {
        let (ids, leases): (Vec<Uuid>, Vec<i32>) = self.runs().values().map(|run| (run.workflow_id, run.lease)).unzip();
        let sql = "SELECT workflow_id, status::text, lease, owner FROM durable.heartbeat($1, $2::uuid[], $3)";
        let executor = &self.worker.executor_id;
        let arguments: Vec<Value> = vec![executor.clone().into(), ids.into(), leases.into()];
        for row in rows(db, sql, arguments).await? {
            let id: Uuid = column(&row, 0)?;
            let (status, lease): (Option<String>, Option<i32>) = (column(&row, 1)?, column(&row, 2)?);
            let owner: Option<String> = column(&row, 3)?;
            let is_ours = status.as_deref() == Some("RUNNING") && owner.as_ref() == Some(executor);
            let run = self.runs().get(&id).cloned();
            match (run, status.as_deref()) {
                (Some(run), Some("PAUSED")) => run.stop(Stop::new(Reason::Paused, "it was paused")),
                (Some(run), _) if !is_ours || lease != Some(run.lease) => {
                    run.stop(Stop::new(Reason::Lost, "it is not ours"));
                }
                (None, _) if is_ours => self.release(id, Duration::ZERO).await?,
                _ => (),
            }
        }
        for run in self.runs().values() {
            run.wake();
        }
        Ok(())
    }

    async fn release(&self, id: Uuid, pause: Duration) -> Result<(), Refused> {
        let run_at = (!pause.is_zero()).then(|| Utc::now() + pause);
        let arguments: Vec<Value> = vec![self.worker.executor_id.clone().into(), id.into(), run_at.into()];
        value::<i64>(&self.worker.db, "SELECT durable.release($1, $2, $3)", arguments).await.map(drop)
    }

    /// Claims what is queued, as long as there is room and work: whether there was some.
    async fn fill(self: &Arc<Self>, db: &DatabaseConnection) -> Result<bool, DurableError> {
        let sql = "SELECT workflow_id, handler, lease FROM durable.claim_from($3, $1, $2, handlers => $4)";
        let mut total = 0;
        loop {
            let (room, taken) = self.take(db, sql, Some(self.worker.queues.clone())).await?;
            total += taken;
            if taken < room || room == 0 {
                return Ok(total > 0);
            }
        }
    }

    /// Takes over what is dead or released.
    async fn take_over(self: &Arc<Self>, db: &DatabaseConnection) -> Result<(), DurableError> {
        let sql = "SELECT workflow_id, handler, lease FROM durable.recover($1, $2, handlers => $3)";
        self.take(db, sql, None).await.map(drop)
    }

    /// Runs what a statement takes for the worker: how many there was room for, and how many there were.
    async fn take(
        self: &Arc<Self>,
        db: &DatabaseConnection,
        sql: &str,
        queues: Option<Vec<String>>,
    ) -> Result<(usize, usize), DurableError> {
        let Worker { handlers, executor_id, .. } = &self.worker;
        // nobody else takes these places meanwhile
        let Some(mut places) = self.free_places() else { return Ok((0, 0)) };
        let room = places.num_permits();
        let names: Vec<String> = handlers.keys().cloned().collect();
        let most = i32::try_from(room).unwrap_or(i32::MAX);
        let mut arguments: Vec<Value> = vec![executor_id.clone().into(), most.into()];
        arguments.extend(queues.map(Value::from));
        arguments.push(names.into());
        let taken = rows(db, sql, arguments).await?;
        for row in &taken {
            let handler = column::<Option<String>>(row, 1)?.and_then(|name| handlers.get(&name).cloned());
            if let Some((handler, place)) = handler.zip(places.split(1)) {
                self.spawn(handler, column(row, 0)?, column(row, 2)?, place);
            }
        }
        Ok((room, taken.len()))
    }

    fn free_places(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
            if free == 0 {
                return None;
            }
            if let Ok(places) = self.places.clone().try_acquire_many_owned(free) {
                return Some(places);
            }
        }
    }

    fn spawn(self: &Arc<Self>, handler: Handler, id: Uuid, lease: i32, place: OwnedSemaphorePermit) {
        let Worker { db, executor_id, patience, .. } = &self.worker;
        let driver = Arc::new(Driver::new(db, id, lease, executor_id, *patience));
        if let Some(before) = self.runs().insert(id, driver.clone()) {
            before.stop(Stop::new(Reason::Lost, "it was taken up again"));
        }
        let work = self.clone();
        tokio::spawn(async move {
            let outcome = driver.drive(run(Ctx::driven(&work.worker.db, &driver), handler, &driver)).await;
            work.runs().retain(|_, run| !Arc::ptr_eq(run, &driver));
            if let Err(stop) = outcome {
                work.settle(id, &stop).await;
            }
            drop(place);
            if work.is_full.load(Ordering::SeqCst)
                && let Err(error) = work.fill(&work.worker.db).await
            {
                tracing::warn!(%error, "worker: no claim");
            }
        });
    }

    /// What nobody would drive otherwise, since it is still ours, is anybody's after a while.
    async fn settle(&self, id: Uuid, stop: &Stop) {
        let done = match stop.reason {
            Reason::GiveBack(pause) => {
                tracing::error!(%id, message = stop.message, "a workflow is given back");
                self.release(id, pause).await.map_err(DurableError::from)
            }
            // it may have been resumed while its last step was still at work
            Reason::Paused => self.look_for_news(&self.worker.db).await,
            Reason::Lost | Reason::Suspended | Reason::Drained => {
                tracing::debug!(%id, message = stop.message, "a workflow goes on elsewhere");
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::warn!(%id, %error, "worker: the next heartbeat does it");
        }
    }

    /// Lets what runs end within the grace, or until it is told so again.
    async fn drain(&self, now: impl Future<Output = ()>) {
        let all = u32::try_from(self.worker.concurrency).unwrap_or(u32::MAX);
        for run in self.runs().values() {
            run.stop(Stop::new(Reason::Drained, "the worker ends"));
        }
        tokio::select! {
            _ = self.places.acquire_many(all) => (),
            () = now => (),
            () = tokio::time::sleep(self.worker.grace) => (),
        }
        for run in self.runs().values() {
            run.stop(Stop::new(Reason::Lost, "the worker has ended"));
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), self.places.acquire_many(all)).await;
    }
}

/// Runs a program, and records how it ends.
async fn run(ctx: Ctx, handler: Handler, driver: &Arc<Driver>) {
    let end = Ctx::driven(ctx.db(), driver);
    let outcome = caught(async { handler(ctx).await }).await;
    let recorded = match outcome {
        _ if driver.has_ended() => Ok(()),
        Ok(output) => end.complete(&output).await,
        // the program's own way to the database has failed, or it says that it can go on elsewhere
        Err(error) if is_lost(&error) || matches!(error, DurableError::StepLocked(_) | DurableError::Paused(_)) => {
            Err(driver.leave(Stop::new(Reason::GiveBack(Duration::from_secs(1)), error.to_string())).await)
        }
        Err(error) => {
            tracing::warn!(id = %driver.workflow_id, %error, "a workflow has failed");
            end.fail_with(&error).await
        }
    };
    if let Err(error) = recorded {
        driver.leave(Stop::new(Reason::GiveBack(Duration::from_secs(60)), error.to_string())).await;
    }
}
