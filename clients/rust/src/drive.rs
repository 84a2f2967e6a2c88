//! A workflow while a worker drives it, with its inline children: its calls are made until the server answers, and its
//! program never sees why it cannot go on here. It waits where it is, and is dropped there.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::DatabaseConnection;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::DurableError;
use crate::call::{Refused, value};
use crate::error::{is_transient, refusal};

/// After what the server has said of it for good, it may be tried by another worker.
const LONG: Duration = Duration::from_secs(60);

/// Why a workflow is not driven here any more.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reason {
    /// it is another's, or cancelled: what runs of it is dropped, since it could not be recorded
    Lost,
    Paused,
    Suspended,
    /// the worker ends
    Drained,
    /// it is still ours, and would not be driven otherwise: others may, after that time
    GiveBack(Duration),
}

impl Stop {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What a refused call comes to.
enum Verdict {
    Again(DurableError),
    Tell(DurableError),
    Stop(Stop),
}

fn verdict(refused: Refused) -> Verdict {
    let Some((state, message)) = refusal(&refused.0) else {
        return if is_transient(&refused.0) { Verdict::Again(refused.into()) } else { Verdict::Tell(refused.into()) };
    };
    match state.as_str() {
        _ if is_transient(&refused.0) => Verdict::Again(refused.into()),
        "WF006" => Verdict::Tell(DurableError::Timeout(message)),
        // bad arguments, no such queue, too many steps: the program's own fault
        "WF010" | "WF012" | "WF015" => Verdict::Tell(DurableError::Custom(message)),
        state if state.starts_with("22") => Verdict::Tell(DurableError::Custom(message)),
        "WF004" => Verdict::Stop(Stop::new(Reason::Paused, message)),
        "WF001" | "WF002" | "WF005" | "WF008" | "WF011" => Verdict::Stop(Stop::new(Reason::Lost, message)),
        _ => Verdict::Stop(Stop::new(Reason::GiveBack(LONG), message)),
    }
}

/// A position that the program waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    pub(crate) step_id: Uuid,
    /// when it ends by itself
    pub(crate) due: Option<Instant>,
    /// nothing else ends it
    pub(crate) only_time: bool,
    /// the gather that waits for all of its members
    pub(crate) gather: Option<Uuid>,
}

#[derive(Debug, Default)]
struct State {
    /// calls, and functions of steps
    busy: usize,
    open: HashMap<Uuid, Open>,
    /// when the program did something last
    progress: Option<Instant>,
    /// it is being suspended: nothing begins until that is known
    holds: bool,
    stopped: Option<Stop>,
    /// its outcome is recorded, or it goes on in a new run
    ended: bool,
    /// the program is no more, but for what it has spawned
    gone: bool,
}

pub(crate) struct Driver {
    pub(crate) workflow_id: Uuid,
    pub(crate) lease: i32,
    pub(crate) executor_id: String,
    db: DatabaseConnection,
    /// a longer wait gives the worker free
    patience: Duration,
    state: Mutex<State>,
    /// for who watches the state
    changed: Notify,
    /// for who waits: something may have ended
    news: watch::Sender<()>,
}

impl Driver {
    pub(crate) fn new(
        db: &DatabaseConnection,
        workflow_id: Uuid,
        lease: i32,
        executor_id: &str,
        patience: Duration,
    ) -> Self {
        Self {
            workflow_id,
            lease,
            executor_id: executor_id.to_owned(),
            db: db.clone(),
            patience,
            state: Mutex::default(),
            changed: Notify::new(),
            news: watch::Sender::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_one();
    }

    /// Ends the driving: nothing begins any more.
    pub(crate) fn stop(&self, stop: Stop) {
        self.change(|state| match &state.stopped {
            Some(before) if before.reason == Reason::Lost || stop.reason != Reason::Lost => (),
            _ => state.stopped = Some(stop),
        });
    }

    /// Its outcome is recorded by the program itself.
    pub(crate) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Something may have ended: who waits asks again.
    pub(crate) fn wake(&self) {
        self.news.send_replace(());
    }

    /// Runs the program as far as it goes here.
    pub(crate) async fn drive(&self, program: impl Future<Output = ()>) -> Result<(), Stop> {
        let outcome = tokio::select! {
            stop = self.watch() => Err(stop),
            () = program => Ok(()),
        };
        self.change(|state| state.gone = true);
        self.wake();
        outcome
    }

    /// Until it is stopped and nothing runs, or until it is suspended, since nothing is left to do but to wait.
    async fn watch(&self) -> Stop {
        loop {
            let at = {
                let state = self.state();
                match &state.stopped {
                    Some(stop) if stop.reason == Reason::Lost || state.busy == 0 => return stop.clone(),
                    Some(_) => None,
                    None => self.suspend_at(&state),
                }
            };
            match at {
                Some(at) if at <= Instant::now() => match self.suspend().await {
                    Some(stop) => return stop,
                    None => self.wake(),
                },
                Some(at) => tokio::select! {
                    () = self.changed.notified() => (),
                    () = sleep_until(at) => (),
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// When to suspend it, if nothing happens before.
    fn suspend_at(&self, state: &State) -> Option<Instant> {
        if state.busy > 0 || state.open.is_empty() {
            return None;
        }
        let patient = state.progress? + self.patience;
        if !state.open.values().all(|open| open.only_time) {
            return Some(patient);
        }
        let next = state.open.values().filter_map(|open| open.due).min();
        let is_near = next.is_some_and(|next| next <= Instant::now() + self.patience);
        if is_near { None } else { Some(Instant::now()) }
    }

    /// Gives the worker free until something has ended that the program waits for; none if that has happened.
    async fn suspend(&self) -> Option<Stop> {
        let open: Vec<Open> = self.state().open.values().copied().collect();
        let gather = open.first()?.gather;
        let is_all = gather.is_some() && open.iter().all(|one| one.gather == gather);
        let ids: Vec<Uuid> = open.iter().map(|open| open.step_id).collect();
        self.change(|state| state.holds = true);
        let answer = self
            .call(|| async {
                let until = if is_all { "all" } else { "any" };
                let arguments = vec![
                    self.workflow_id.into(),
                    self.executor_id.clone().into(),
                    self.lease.into(),
                    ids.clone().into(),
                    until.into(),
                ];
                value::<String>(
                    &self.db,
                    "SELECT status::text FROM durable.suspend($1, $2, $3, $4::uuid[], $5)",
                    arguments,
                )
                .await
            })
            .await;
        self.change(|state| {
            state.holds = false;
            state.progress = Some(Instant::now());
        });
        match answer {
            Ok(status) if status == "RUNNING" => None,
            Ok(_) => Some(Stop::new(Reason::Suspended, "suspended")),
            Err(Verdict::Stop(stop)) => Some(stop),
            Err(Verdict::Tell(error) | Verdict::Again(error)) => {
                Some(Stop::new(Reason::GiveBack(LONG), error.to_string()))
            }
        }
    }

    /// Calls, again and again, until the server has answered.
    async fn call<T, Fut>(&self, call: impl Fn() -> Fut) -> Result<T, Verdict>
    where
        Fut: Future<Output = Result<T, Refused>>,
    {
        let mut pause = Duration::from_millis(50);
        loop {
            match call().await.map_err(verdict) {
                Err(Verdict::Again(error)) => tracing::debug!(%error, "trying again"),
                answer => return answer,
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Calls for the program, which gets what it may know.
    pub(crate) async fn ask<T, Fut>(&self, call: impl Fn() -> Fut) -> Result<T, DurableError>
    where
        Fut: Future<Output = Result<T, Refused>>,
    {
        self.may_begin().await?;
        self.record(self.busy(), call).await
    }

    /// Calls for what runs already, and so may end.
    pub(crate) async fn record<T, Fut>(&self, busy: Busy<'_>, call: impl Fn() -> Fut) -> Result<T, DurableError>
    where
        Fut: Future<Output = Result<T, Refused>>,
    {
        match self.call(call).await {
            Ok(answer) => Ok(answer),
            Err(Verdict::Tell(error) | Verdict::Again(error)) => Err(error),
            Err(Verdict::Stop(stop)) => {
                drop(busy);
                Err(self.leave(stop).await)
            }
        }
    }

    /// What a refused call of a transaction is for the program; none if the transaction is to be done again.
    pub(crate) async fn refused(&self, busy: Busy<'_>, refused: Refused) -> Option<DurableError> {
        drop(busy);
        match verdict(refused) {
            Verdict::Again(_) => None,
            Verdict::Tell(error) => Some(error),
            Verdict::Stop(stop) => Some(self.leave(stop).await),
        }
    }

    /// Ends the driving from within the program.
    pub(crate) async fn leave(&self, stop: Stop) -> DurableError {
        self.stop(stop);
        self.park().await
    }

    /// Whether the program has recorded how it ends.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// While something runs for the program, it is not suspended.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.change(|state| state.busy += 1);
        Busy(self)
    }

    /// Waits while nothing may begin; for ever, if it is stopped.
    pub(crate) async fn may_begin(&self) -> Result<(), DurableError> {
        let mut news = self.news.subscribe();
        loop {
            let (holds, stopped) = {
                let state = self.state();
                (state.holds, state.stopped.is_some() || state.gone)
            };
            match (stopped, holds) {
                (true, _) => return Err(self.park().await),
                (_, false) => return Ok(()),
                (_, true) => drop(news.changed().await),
            }
        }
    }

    /// Waits until the program is no more: only what it has spawned goes on, and gets an error.
    async fn park(&self) -> DurableError {
        let mut news = self.news.subscribe();
        loop {
            let (gone, stopped) = {
                let state = self.state();
                (state.gone, state.stopped.clone())
            };
            if gone {
                return DurableError::StepLocked(stopped.map_or_else(|| "it has ended".to_owned(), |s| s.message));
            }
            drop(news.changed().await);
        }
    }

    /// What tells of what happens from now on.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Waits until an open position may have ended.
    pub(crate) async fn pause(&self, open: Open, mut news: watch::Receiver<()>) {
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        self.change(|state| _ = state.open.insert(open.step_id, open));
        let _open = Opened(self, open.step_id);
        let look = if open.only_time { None } else { Some(Instant::now() + LOOK_AGAIN) };
        let until = open.due.into_iter().chain(look).min();
        tokio::select! {
            _ = news.changed() => (),
            () = async { sleep_until(until.unwrap_or_else(|| Instant::now() + LOOK_AGAIN)).await } => (),
        }
    }

    /// The program waits anew: its patience begins.
    pub(crate) fn progressed(&self) {
        self.change(|state| state.progress = Some(Instant::now()));
    }
}

pub(crate) struct Busy<'a>(&'a Driver);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.busy -= 1);
    }
}

struct Opened<'a>(&'a Driver, Uuid);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.change(|state| _ = state.open.remove(&self.1));
    }
}

/// Between half and all of it.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let random = Uuid::new_v4().as_bytes()[0];
    pause / 2 + pause * u32::from(random) / 512
}
