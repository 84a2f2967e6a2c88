//! Waiting: sleeps, signals, callbacks, queued children, and several of them.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::{DatabaseConnection, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::call::{Claimed, Refused, child, claimed, nullable, of_child, value};
use crate::step::{Settled, decode, settled};
use crate::{Ctx, DurableError};

/// A signal that was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal<T> {
    /// which of those that were waited for
    #[serde(rename = "signal")]
    pub name: String,
    /// what was sent
    pub payload: T,
}

/// A position that an event or the time ends: await it, or give it to [`Ctx::gather`] or, by [`Wait::place`],
/// to [`Ctx::first`].
///
/// Its place in the program is taken when it is made. As any future, it begins when it is first waited for; or by
/// [`begin`](Wait::begin).
#[must_use = "it begins when it is awaited"]
pub struct Wait<'c, T> {
    place: Place<'c>,
    result: PhantomData<fn() -> T>,
}

/// Where a [`Wait`] stands in the program, whatever it gives.
pub struct Place<'c> {
    ctx: &'c Ctx,
    sequence: i32,
    name: String,
    kind: &'static str,
    /// the sort of wait that is recorded
    wait: Option<&'static str>,
    /// a function that answers `claimed_step`, or the parameters of a child
    sql: &'static str,
    arguments: Vec<Value>,
    /// only this field of the outcome
    field: Option<&'static str>,
}

impl<'c, T: DeserializeOwned> Wait<'c, T> {
    fn new(place: Place<'c>) -> Self {
        Self { place, result: PhantomData }
    }

    /// The id of this position: of a callback, the token by which it is answered.
    pub fn step_id(&self) -> Uuid {
        self.place.step_id()
    }

    /// Records it, without waiting: a child is in its queue, a sleep counts, a callback can be answered.
    pub async fn begin(&self) -> Result<(), DurableError> {
        self.place.begin().await
    }

    /// Where it stands, for [`Ctx::first`].
    pub fn place(&self) -> &Place<'c> {
        &self.place
    }

    /// The same, whose outcome, as it is recorded, is read as another type.
    pub fn read_as<U: DeserializeOwned>(self) -> Wait<'c, U> {
        Wait::new(Place { field: None, ..self.place })
    }
}

impl<'c, T: DeserializeOwned + 'c> IntoFuture for Wait<'c, T> {
    type Output = Result<T, DurableError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.place.settle(None).await.and_then(decode) })
    }
}

impl Place<'_> {
    fn step_id(&self) -> Uuid {
        self.ctx.step_id(self.sequence)
    }

    async fn replayed(&self) -> Result<Option<Option<Json>>, DurableError> {
        self.ctx.replayed(self.sequence, &self.name, self.kind, self.wait).await
    }

    async fn ask(&self) -> Result<Claimed, DurableError> {
        self.ctx.ask(|| self.call()).await
    }

    async fn call(&self) -> Result<Claimed, Refused> {
        let ctx = self.ctx;
        let mut arguments: Vec<Value> =
            vec![ctx.task_id().into(), self.sequence.into(), self.name.clone().into(), ctx.lease().into()];
        arguments.extend(self.arguments.iter().cloned());
        if self.kind == "WORKFLOW" {
            return of_child(self.step_id(), &child(ctx.db(), self.sql, arguments).await?);
        }
        claimed(ctx.db(), self.sql, arguments).await
    }

    async fn begin(&self) -> Result<(), DurableError> {
        if self.replayed().await?.is_none() {
            self.ask().await?;
        }
        Ok(())
    }

    /// Asks until its outcome is recorded; a worker may be given free meanwhile.
    async fn settle(&self, gather: Option<Uuid>) -> Result<Option<Json>, DurableError> {
        let output = match self.replayed().await? {
            Some(output) => output,
            None => self.wait(gather).await?,
        };
        Ok(match self.field {
            Some(field) => output.and_then(|mut output| output.get_mut(field).map(Json::take)),
            None => output,
        })
    }

    async fn wait(&self, gather: Option<Uuid>) -> Result<Option<Json>, DurableError> {
        if let Some(driver) = self.ctx.driver() {
            driver.progressed();
        }
        let only_time = self.wait == Some("sleep");
        let mut look = 0.01;
        loop {
            let found = self.ask().await?;
            let mut due = found.wait;
            match settled(&self.name, found)? {
                Settled::Output(output) => return Ok(output),
                // what ends it is not committed yet
                Settled::Locked => due = Some(0.1),
                Settled::Wait => (),
            }
            if self.ctx.driver().is_none() && !only_time {
                // nobody tells it what has happened: it looks more and more seldom
                due = Some(due.map_or(look, |due| due.min(look)));
                look = f64::min(look * 1.25, 1.0);
            }
            self.ctx.wait_in_place(self.step_id(), only_time, due, gather).await;
        }
    }
}

impl Ctx {
    /// Waits for that long, counted from the first time that the program came here, however often it crashed since.
    pub fn sleep(&self, name: &str, duration: Duration) -> Wait<'_, ()> {
        let sql = "durable.sleep($1, $2, $3, lease => $4, duration => make_interval(secs => $5))";
        self.wait("sleep", name, sql, vec![duration.as_secs_f64().into()])
    }

    /// Waits for a signal of that name, and takes it. `Timeout` if none was sent in that time.
    pub fn signal<T: DeserializeOwned>(&self, name: &str, timeout: Option<Duration>) -> Wait<'_, T> {
        let mut wait = self.signals::<Json>(&[name], timeout).read_as();
        wait.place.field = Some("payload");
        wait
    }

    /// Waits for a signal of one of those names, and takes it.
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError};
    /// # async fn f(ctx: Ctx) -> Result<(), DurableError> {
    /// let answer: durable::Signal<String> = ctx.signals(&["approved", "refused"], None).await?;
    /// if answer.name == "approved" { /* ... */ }
    /// # Ok(()) }
    /// ```
    pub fn signals<T: DeserializeOwned>(&self, names: &[&str], timeout: Option<Duration>) -> Wait<'_, Signal<T>> {
        let sql = "durable.await_signal($1, $2, $3, lease => $4, timeout => make_interval(secs => $5), signals => $6)";
        let signals: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        self.wait("signal", &names.join("|"), sql, vec![seconds(timeout), signals.into()])
    }

    /// Waits until somebody answers, who has its [`step_id`](Wait::step_id), by
    /// [`answer`](Self::answer) or the function `durable.answer`.
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError};
    /// # async fn send_link(token: uuid::Uuid) -> Result<(), DurableError> { Ok(()) }
    /// # async fn f(ctx: Ctx) -> Result<(), DurableError> {
    /// let paid = ctx.callback::<u32>("paid", None);
    /// paid.begin().await?;
    /// ctx.step("send link", || send_link(paid.step_id())).await?;
    /// let sum = paid.await?;
    /// # Ok(()) }
    /// ```
    pub fn callback<T: DeserializeOwned>(&self, name: &str, timeout: Option<Duration>) -> Wait<'_, T> {
        let sql = "durable.await_callback($1, $2, $3, lease => $4, timeout => make_interval(secs => $5))";
        self.wait("callback", name, sql, vec![seconds(timeout)])
    }

    /// Waits for the end of any other workflow: its output, or its failure.
    pub fn workflow<T: DeserializeOwned>(&self, name: &str, awaited: Uuid, timeout: Option<Duration>) -> Wait<'_, T> {
        let sql =
            "durable.await_workflow($1, $2, $3, lease => $4, timeout => make_interval(secs => $5), awaited => $6)";
        self.wait("workflow", name, sql, vec![seconds(timeout), awaited.into()])
    }

    /// A child workflow that any worker of that queue runs, by its function of the name `handler`.
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError};
    /// # async fn f(ctx: Ctx) -> Result<(), DurableError> {
    /// let mails = ["ann", "bob"].map(|to| ctx.queued_child::<()>(&format!("mail {to}"), "mail", "send_mail", Some(to.into())));
    /// ctx.gather(mails).await?;
    /// # Ok(()) }
    /// ```
    pub fn queued_child<T: DeserializeOwned>(
        &self,
        name: &str,
        queue: &str,
        handler: &str,
        input: Option<Json>,
    ) -> Wait<'_, T> {
        Wait::new(Place {
            ctx: self,
            sequence: self.next_sequence(),
            name: name.to_owned(),
            kind: "WORKFLOW",
            wait: None,
            sql: "$1, $2, $3, lease => $4, queue => $5, handler => $6, input => $7",
            arguments: vec![queue.into(), handler.into(), nullable(input)],
            field: None,
        })
    }

    /// Waits for all, then returns their outcomes in order, or the first failure in this order. (For those of several
    /// types there is `tokio::join!`.)
    pub async fn gather<'c, T: DeserializeOwned>(
        &self,
        waits: impl IntoIterator<Item = Wait<'c, T>>,
    ) -> Result<Vec<T>, DurableError> {
        let gather = Some(Uuid::new_v4());
        let waits: Vec<Wait<'c, T>> = waits.into_iter().collect();
        let outcomes = join_all(waits.iter().map(|wait| wait.place.settle(gather))).await;
        outcomes.into_iter().map(|outcome| outcome.and_then(decode)).collect()
    }

    /// Waits for the one that ends first, in whatever way: its index. The others stay as they are.
    ///
    /// ```no_run
    /// # use durable::{Ctx, DurableError};
    /// # use std::time::Duration;
    /// # async fn f(ctx: Ctx) -> Result<(), DurableError> {
    /// let (go, late) = (ctx.signal::<u32>("go", None), ctx.sleep("late", Duration::from_secs(3600)));
    /// match ctx.first("first", &[go.place(), late.place()]).await? {
    ///     0 => ctx.complete(&go.await?).await,
    ///     _ => ctx.fail("nobody said go").await,
    /// }
    /// # }
    /// ```
    pub fn first<'c>(&'c self, name: &str, places: &[&Place<'c>]) -> impl Future<Output = Result<usize, DurableError>> {
        #[derive(Deserialize)]
        struct Ended {
            sequence: i32,
        }
        let sequences: Vec<i32> = places.iter().map(|place| place.sequence).collect();
        let sql = "durable.await_any($1, $2, $3, lease => $4, sequences => $5)";
        let any = self.wait::<Ended>("any", name, sql, vec![sequences.clone().into()]);
        async move {
            if any.place.replayed().await?.is_none() {
                for begun in join_all(places.iter().map(|place| place.begin())).await {
                    begun?;
                }
            }
            let ended = any.await?.sequence;
            let found = sequences.iter().position(|sequence| *sequence == ended);
            found.ok_or_else(|| DurableError::custom(format!("position {ended} is none of those of \"first\"")))
        }
    }

    /// Sends a signal to a workflow. With a key, the second one of that key is not sent: false.
    pub async fn send_signal<T: Serialize>(
        db: &DatabaseConnection,
        task_id: Uuid,
        name: &str,
        payload: &T,
        key: Option<&str>,
    ) -> Result<bool, DurableError> {
        let payload = nullable(Some(serde_json::to_value(payload)?));
        let arguments: Vec<Value> = vec![task_id.into(), name.into(), payload, key.map(str::to_owned).into()];
        Ok(value(db, "SELECT durable.signal($1, $2, $3, $4)", arguments).await?)
    }

    /// Answers a callback, or any open wait: false if it had ended so before.
    pub async fn answer<T: Serialize>(db: &DatabaseConnection, token: Uuid, answer: &T) -> Result<bool, DurableError> {
        let arguments = vec![token.into(), nullable(Some(serde_json::to_value(answer)?))];
        Ok(value(db, "SELECT durable.answer($1, $2)", arguments).await?)
    }

    fn wait<T: DeserializeOwned>(
        &self,
        wait: &'static str,
        name: &str,
        sql: &'static str,
        arguments: Vec<Value>,
    ) -> Wait<'_, T> {
        let (sequence, name) = (self.next_sequence(), name.to_owned());
        Wait::new(Place { ctx: self, sequence, name, kind: "WAIT", wait: Some(wait), sql, arguments, field: None })
    }
}

fn seconds(duration: Option<Duration>) -> Value {
    duration.map(|duration| duration.as_secs_f64()).into()
}
