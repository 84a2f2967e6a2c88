//! Workers of queues.

use std::time::Duration;

use durable::sea_orm::DatabaseConnection;
use durable::{Ctx, DurableError, Worker};
use tokio::sync::oneshot;

use crate::{ask, connect, execute, unique, url};

#[durable::workflow]
async fn double(ctx: Ctx, n: u32) -> Result<(), DurableError> {
    let twice: u32 = ctx.step("double", || async { Ok(2 * n) }).await?;
    ctx.complete(&twice).await
}

#[durable::workflow]
async fn approval(ctx: Ctx) -> Result<(), DurableError> {
    let who: String = ctx.signal("approved", None).await?;
    ctx.complete(&who).await
}

#[durable::workflow]
async fn breaks(_ctx: Ctx) -> Result<(), DurableError> {
    Err(DurableError::custom("broken"))
}

pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<Result<(), DurableError>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("it runs");
        self.done.await.expect("no panic").expect("no error");
    }
}

pub(crate) async fn worker(queue: &str) -> Running {
    begin(Worker::new(&url(), &[queue]).await.unwrap())
}

pub(crate) fn begin(worker: Worker) -> Running {
    begin_with(worker.concurrency(4))
}

fn begin_with(worker: Worker) -> Running {
    let worker = worker.patience(Duration::from_millis(100));
    let (stop, stopped) = oneshot::channel();
    Running { stop, done: tokio::spawn(worker.run_until(async move { stopped.await.unwrap_or(()) })) }
}

pub(crate) async fn enqueue(db: &DatabaseConnection, queue: &str, handler: &str, input: &str) -> String {
    let name = unique(handler);
    let start = format!("durable.start('{name}', '{input}', '{handler}', queue => '{queue}')");
    ask(db, &format!("SELECT workflow_id FROM {start}")).await
}

/// Waits until something answers so.
pub(crate) async fn until(db: &DatabaseConnection, sql: &str, wanted: &str) {
    for _ in 0..600 {
        if ask(db, sql).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{sql} is {} and not {wanted}", ask(db, sql).await);
}

pub(crate) async fn queue(db: &DatabaseConnection) -> String {
    let queue = unique("queue");
    execute(db, &format!("SELECT durable.create_queue('{queue}')")).await;
    queue
}

#[tokio::test]
async fn a_worker_runs_what_is_queued() {
    let db = connect().await;
    let queue = queue(&db).await;
    let running = worker(&queue).await;
    for n in 1..=20 {
        enqueue(&db, &queue, "double", &n.to_string()).await;
    }
    let broken = enqueue(&db, &queue, "breaks", "null").await;
    let sum = format!("SELECT sum(output::int) FROM durable.workflow WHERE queue_name = '{queue}'");
    until(&db, &sum, "420").await;
    until(&db, &format!("durable.error('{broken}')"), "Custom: broken").await;
    running.stop().await;
}

#[tokio::test]
async fn a_long_wait_gives_the_worker_free() {
    let db = connect().await;
    let queue = queue(&db).await;
    let running = worker(&queue).await;
    let id = enqueue(&db, &queue, "approval", "null").await;
    until(&db, &format!("SELECT suspended_at IS NOT NULL FROM durable.workflow WHERE id = '{id}'"), "true").await;
    Ctx::send_signal(&db, id.parse().unwrap(), "approved", &"ann", None).await.unwrap();
    until(&db, &format!("durable.output('{id}')"), "\"ann\"").await;
    running.stop().await;
}

#[tokio::test]
async fn a_worker_outlives_its_connections() {
    let db = connect().await;
    let queue = queue(&db).await;
    let name = unique("connections");
    let running = begin(Worker::new(&format!("{}&application_name={name}", url()), &[&queue]).await.unwrap());
    let first = enqueue(&db, &queue, "double", "1").await;
    until(&db, &format!("durable.output('{first}')"), "2").await;
    // those of other tests, which run beside it, go on
    let ended =
        format!("SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity WHERE application_name = '{name}'");
    assert_eq!(ask(&db, &ended).await, "true");
    let second = enqueue(&db, &queue, "double", "2").await;
    until(&db, &format!("durable.output('{second}')"), "4").await;
    running.stop().await;
}

#[tokio::test]
async fn what_a_pause_has_stopped_goes_on() {
    let db = connect().await;
    let queue = queue(&db).await;
    let id = enqueue(&db, &queue, "approval", "null").await;
    let running = worker(&queue).await;
    until(&db, &format!("SELECT suspended_at IS NOT NULL FROM durable.workflow WHERE id = '{id}'"), "true").await;
    Ctx::pause(&db, id.parse().unwrap()).await.unwrap();
    Ctx::send_signal(&db, id.parse().unwrap(), "approved", &"bob", None).await.unwrap();
    Ctx::resume(&db, id.parse().unwrap()).await.unwrap();
    until(&db, &format!("durable.output('{id}')"), "\"bob\"").await;
    running.stop().await;
}

#[tokio::test]
async fn a_free_place_is_filled_at_once() {
    let db = connect().await;
    for (concurrency, number) in [(1, 60), (4, 240)] {
        let queue = queue(&db).await;
        let start = format!("durable.start('{queue}-' || n, '1', 'double', queue => '{queue}')");
        execute(&db, &format!("SELECT FROM generate_series(1, {number}) n, {start}")).await;
        let since = std::time::Instant::now();
        let running = begin_with(Worker::new(&url(), &[&queue]).await.unwrap().concurrency(concurrency));
        let sum = format!("SELECT sum(output::int) FROM durable.workflow WHERE queue_name = '{queue}'");
        until(&db, &sum, &(2 * number).to_string()).await;
        assert!(since.elapsed() < Duration::from_secs(8), "not at the next look, each 0.2 s: {:?}", since.elapsed());
        running.stop().await;
    }
}
