//! What goes wrong in programs, and on the way to the server.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use durable::sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use durable::serde_json::{Value, json};
use durable::{Ctx, DurableError, StepOptions, Worker};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::workers::{begin, enqueue, queue, until, worker};
use crate::{ask, connect, execute, give, unique, url};

async fn started(db: &DatabaseConnection, name: &str) -> Ctx {
    Ctx::start(db, &unique(name), None).await.unwrap().into_ctx()
}

// ── Programs that catch all errors ────────────────────────────────

static SWALLOWED: AtomicU32 = AtomicU32::new(0);

/// Goes on whatever happens.
#[durable::workflow]
async fn catches_all(ctx: Ctx) -> Result<(), DurableError> {
    for n in 0..3 {
        if ctx.signal::<u32>(&format!("go {n}"), None).await.is_err() {
            SWALLOWED.fetch_add(1, Ordering::SeqCst);
        }
        if ctx.step("next", || give(n)).await.is_err() {
            SWALLOWED.fetch_add(1, Ordering::SeqCst);
        }
    }
    ctx.complete(&"done").await
}

#[tokio::test]
async fn a_program_cannot_catch_what_stops_it() {
    let db = connect().await;
    let queue = queue(&db).await;
    let running = worker(&queue).await;
    let id = enqueue(&db, &queue, "catches_all", "null").await;
    let task = id.parse().unwrap();
    let is_suspended = format!("SELECT suspended_at IS NOT NULL FROM durable.workflow WHERE id = '{id}'");
    until(&db, &is_suspended, "true").await;
    Ctx::send_signal(&db, task, "go 0", &1, None).await.unwrap();
    until(&db, &format!("SELECT count(*) FROM durable.history('{id}') WHERE status = 'COMPLETED'"), "2").await;
    Ctx::pause(&db, task).await.unwrap();
    Ctx::send_signal(&db, task, "go 1", &1, None).await.unwrap();
    Ctx::resume(&db, task).await.unwrap();
    until(&db, &format!("SELECT count(*) FROM durable.history('{id}') WHERE status = 'COMPLETED'"), "4").await;
    let other = enqueue(&db, &queue, "catches_all", "null").await;
    Ctx::send_signal(&db, task, "go 2", &1, None).await.unwrap();
    until(&db, &format!("durable.output('{id}')"), "\"done\"").await;
    Ctx::cancel(&db, other.parse().unwrap()).await.unwrap();
    running.stop().await;
    assert_eq!(ask(&db, &format!("durable.status('{other}')")).await, "CANCELLED");
    assert_eq!(SWALLOWED.load(Ordering::SeqCst), 0, "a stop was told to the program");
}

#[tokio::test]
async fn a_program_that_runs_by_itself_records_nothing_after_a_stop() {
    let db = connect().await;
    let ctx = started(&db, "stubborn").await;
    Ctx::pause(&db, ctx.task_id()).await.unwrap();
    for _ in 0..3 {
        assert!(ctx.step("next", || give(1)).await.unwrap_err().is_paused());
    }
    assert!(ctx.complete(&1).await.unwrap_err().is_paused());
    assert_eq!(ask(&db, &format!("durable.status('{}')", ctx.task_id())).await, "PAUSED");
}

#[durable::workflow]
async fn panics(ctx: Ctx) -> Result<(), DurableError> {
    let error = ctx.step::<u32, _, _>("panics", || async { panic!("in a step") }).await.unwrap_err();
    assert_eq!(error.to_string(), "panics: Panic: in a step");
    panic!("in the workflow")
}

#[durable::workflow]
async fn forgets_to_complete(ctx: Ctx) -> Result<u32, DurableError> {
    ctx.step("one", || give(1)).await
}

#[tokio::test]
async fn a_panic_is_a_failure_and_a_program_that_returns_has_completed() {
    let db = connect().await;
    let queue = queue(&db).await;
    let running = worker(&queue).await;
    let id = enqueue(&db, &queue, "panics", "null").await;
    until(&db, &format!("durable.error('{id}')"), "Panic: in the workflow").await;
    let id = enqueue(&db, &queue, "forgets_to_complete", "null").await;
    until(&db, &format!("durable.status('{id}')"), "COMPLETED").await;
    running.stop().await;
}

// ── Results: the same on the first run and on a replay ────────────

async fn is_kept<T>(db: &DatabaseConnection, name: &str, value: T)
where
    T: Serialize + DeserializeOwned + Clone + Debug,
{
    let ctx = started(db, name).await;
    let first = ctx.step(name, || give(value.clone())).await.map_err(|error| error.to_string());
    let again = Ctx::from_id(db, ctx.task_id()).await.unwrap();
    let replay =
        again.step::<T, _, _>(name, || async { panic!("runs again") }).await.map_err(|error| error.to_string());
    assert_eq!(format!("{first:?}"), format!("{replay:?}"), "{name}");
}

#[tokio::test]
async fn a_result_is_the_same_on_a_replay() {
    let db = connect().await;
    let now = chrono::Utc::now();
    is_kept(&db, "tuple", (1, "a".to_owned(), (2.5, None::<u8>))).await;
    is_kept(&db, "int keys", BTreeMap::from([(3, "c".to_owned()), (-1, "a".to_owned())])).await;
    is_kept(&db, "dates", (now, now.date_naive(), chrono::TimeDelta::try_seconds(1).map(|d| d.num_seconds()))).await;
    is_kept(&db, "nothing", None::<u32>).await;
    is_kept(&db, "unit", ()).await;
    is_kept(&db, "nested nothing", Some(None::<u32>)).await;
    is_kept(&db, "big", (u64::MAX, i64::MIN, 1u64 << 53)).await;
    is_kept(&db, "too big", u128::MAX).await;
    is_kept(&db, "not a number", f64::NAN).await;
    is_kept(&db, "perhaps infinite", Some(f64::INFINITY)).await;
    is_kept(&db, "floats", vec![-0.0, 0.1 + 0.2, 1e16, 1e22, -1e17, 1e300, 5e-324, 1.0, f64::MAX, 1.5e15]).await;
    is_kept(&db, "any floats", json!([-0.0, 1e16, -1e17, 1e300, 1e-7, 1.0, 18_446_744_073_709_551_615_u64, 2e19]))
        .await;
    is_kept(&db, "32 bits", 0.1f32).await;
    is_kept(&db, "text", "\u{1F600} \\ \" \u{7f}".to_owned()).await;
    is_kept(&db, "nul", "a\0b".to_owned()).await;
    is_kept(&db, "bytes", vec![0u8, 255]).await;
    is_kept(&db, "any", json!({"b": 1, "a": [null, {"": "x"}]})).await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_a_failure_of_the_step() {
    let db = connect().await;
    let ctx = started(&db, "nan").await;
    let error = ctx.step("nan", || give(f64::NAN)).await.unwrap_err();
    assert!(matches!(&error, DurableError::Json(_)), "{error}");
    let error = ctx.step("nul", || give("a\0b".to_owned())).await.unwrap_err();
    assert!(matches!(&error, DurableError::Custom(_)), "{error}");
    let error =
        ctx.step::<(), _, _>("nul in an error", || async { Err(DurableError::custom("a\0b")) }).await.unwrap_err();
    assert_eq!(error.to_string(), "a\\0b");
    let failed = format!("SELECT count(*) FROM durable.history('{}') WHERE status = 'FAILED'", ctx.task_id());
    assert_eq!(ask(&db, &failed).await, "3");
}

// ── Positions ─────────────────────────────────────────────────────

#[tokio::test]
async fn steps_of_one_name_at_once_are_several() {
    let db = connect().await;
    let ctx = started(&db, "same name").await;
    let run = |ctx: Ctx, add: u32| async move {
        let (a, b, c) = tokio::join!(
            ctx.step("same", || async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok(1 + add)
            }),
            ctx.step("same", || give(2 + add)),
            ctx.concurrent_step("same", || give(3 + add)),
        );
        (a.unwrap(), b.unwrap(), c.unwrap())
    };
    let id = ctx.task_id();
    assert_eq!(run(ctx, 0).await, (1, 2, 3));
    assert_eq!(run(Ctx::from_id(&db, id).await.unwrap(), 10).await, (1, 2, 3));
}

#[tokio::test]
async fn a_position_is_taken_when_the_call_is_made() {
    let db = connect().await;
    let ctx = started(&db, "order").await;
    let first = ctx.step("first", || give(1));
    let second = ctx.step("second", || give(2));
    assert_eq!((second.await.unwrap(), first.await.unwrap()), (2, 1));
    let names = format!("SELECT string_agg(name, ' ' ORDER BY sequence) FROM durable.history('{}')", ctx.task_id());
    assert_eq!(ask(&db, &names).await, "first second");
}

#[tokio::test]
async fn what_is_random_is_the_same_on_a_replay_and_in_all_languages() {
    let db = connect().await;
    let ctx = started(&db, "random").await;
    let draw = |ctx: Ctx| async move {
        let before = (ctx.uuid(), ctx.uuid(), ctx.random().to_string());
        let now = ctx.now().await.unwrap();
        (before, now, ctx.uuid())
    };
    let id = ctx.task_id();
    let drawn = draw(ctx).await;
    assert_eq!(draw(Ctx::from_id(&db, id).await.unwrap()).await, drawn);
    let ((first, second, _), _, third) = drawn;
    assert!(first != second && second != third);
    let digest = format!("SELECT encode(substr(sha256('{id}/0/0'), 1, 6), 'hex')");
    assert_eq!(first.simple().to_string()[..12], ask(&db, &digest).await);
}

// ── Transactions that the server undoes ───────────────────────────

const CONFLICT: &str = "DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40P01'; END $$";

#[tokio::test]
async fn a_transaction_that_loses_is_done_again_as_a_whole() {
    let db = connect().await;
    execute(&db, "CREATE TABLE IF NOT EXISTS rust_troubles (note text)").await;
    let ctx = started(&db, "conflicts").await;
    let note = unique("note");
    let tries = std::sync::Arc::new(AtomicU32::new(0));
    let (count, written) = (tries.clone(), note.clone());
    let attempt: i32 = ctx
        .transaction_with("book", StepOptions::default(), move |tx, step| {
            let (count, written) = (count.clone(), written.clone());
            Box::pin(async move {
                tx.execute_unprepared(&format!("INSERT INTO rust_troubles VALUES ('{written}')")).await?;
                if count.fetch_add(1, Ordering::SeqCst) < 2 {
                    tx.execute_unprepared(CONFLICT).await?;
                }
                Ok(step.attempt)
            })
        })
        .await
        .unwrap();
    assert_eq!((attempt, tries.load(Ordering::SeqCst)), (1, 3));
    assert_eq!(ask(&db, &format!("SELECT count(*) FROM rust_troubles WHERE note = '{note}'")).await, "1");

    // what can be called only once is not recorded as failed, and can be done by the next run
    let error = ctx
        .transaction::<(), _>("once", |tx| {
            Box::pin(async move {
                tx.execute_unprepared(CONFLICT).await?;
                Ok(())
            })
        })
        .await
        .unwrap_err();
    assert!(matches!(&error, DurableError::Db(_)), "{error}");
    let ctx = Ctx::from_id(&db, ctx.task_id()).await.unwrap();
    ctx.next_sequence();
    assert_eq!(ctx.transaction("once", |_| Box::pin(give(5))).await.unwrap(), 5);
}

static CONFLICTS: AtomicU32 = AtomicU32::new(0);

#[durable::workflow]
async fn loses_once(ctx: Ctx) -> Result<(), DurableError> {
    let done = ctx
        .transaction("book", |tx| {
            Box::pin(async move {
                if CONFLICTS.fetch_add(1, Ordering::SeqCst) == 0 {
                    tx.execute_unprepared(CONFLICT).await?;
                }
                Ok("done".to_owned())
            })
        })
        .await;
    ctx.complete(&done.unwrap_or_else(|error| error.to_string())).await
}

#[tokio::test]
async fn a_worker_does_it_again_by_the_next_run() {
    let db = connect().await;
    let queue = queue(&db).await;
    let running = worker(&queue).await;
    let id = enqueue(&db, &queue, "loses_once", "null").await;
    until(&db, &format!("durable.output('{id}')"), "\"done\"").await;
    let attempt = format!("SELECT attempt FROM durable.history('{id}')");
    assert_eq!((ask(&db, &attempt).await.as_str(), CONFLICTS.load(Ordering::SeqCst)), ("1", 2));
    running.stop().await;
}

// ── The way to the server ─────────────────────────────────────────

const AWAY: &str = "rust-client-that-is-cut-off";

/// Ends all sessions of the worker, the first time that a program comes there.
async fn cut_off(times: &AtomicU32) {
    if times.fetch_add(1, Ordering::SeqCst) == 0 {
        let db = connect().await;
        let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{AWAY}'");
        execute(&db, &sql).await;
    }
}

async fn fails_while_away(ctx: Ctx) -> Result<(), DurableError> {
    static CUTS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
    let error = ctx
        .step::<u32, _, _>("fails", || async {
            cut_off(&CUTS[0]).await;
            Err(DurableError::custom("no"))
        })
        .await
        .unwrap_err();
    let kept: Value = ctx
        .transaction_with("cut off", StepOptions::default(), |tx, step| {
            Box::pin(async move {
                cut_off(&CUTS[1]).await;
                tx.execute_unprepared("SELECT 1").await?;
                Ok(json!(step.attempt))
            })
        })
        .await?;
    ctx.complete(&(error.to_string(), kept)).await
}

#[tokio::test]
async fn what_fails_while_the_server_is_away_is_recorded_when_it_is_back() {
    let db = connect().await;
    let queue = queue(&db).await;
    let worker = Worker::new(&format!("{}&application_name={AWAY}", url()), &[&queue]).await.unwrap();
    // no other worker has that handler: it is dead while its session is
    let running = begin(worker.workflow("fails while away", fails_while_away));
    let id = enqueue(&db, &queue, "fails while away", "null").await;
    until(&db, &format!("durable.output('{id}')"), "[\"no\", 1]").await;
    let failed = format!("SELECT string_agg(status::text, ' ' ORDER BY sequence) FROM durable.history('{id}')");
    assert_eq!(ask(&db, &failed).await, "FAILED COMPLETED");
    running.stop().await;
}

#[durable::workflow]
async fn is_taken_over(ctx: Ctx) -> Result<(), DurableError> {
    let one = ctx.step("one", || give(1)).await?;
    ctx.complete(&one).await
}

#[tokio::test]
async fn a_worker_that_died_after_its_claim_is_replaced() {
    let db = connect().await;
    let queue = queue(&db).await;
    let id = enqueue(&db, &queue, "is_taken_over", "null").await;
    let dead = unique("dead");
    let mut options = ConnectOptions::new(url());
    options.max_connections(1);
    let session = Database::connect(options).await.unwrap();
    // bound: it lives as long as its session
    execute(&session, &format!("CALL durable.wait_for_work('{dead}', '{{}}', '0 s', true)")).await;
    let claim = format!("SELECT workflow_id FROM durable.claim_from(ARRAY['{queue}'], '{dead}', 1)");
    assert_eq!(ask(&session, &claim).await, id);
    session.close().await.unwrap();
    let running = worker(&queue).await;
    let began = Instant::now();
    until(&db, &format!("durable.output('{id}')"), "1").await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    running.stop().await;
}

static BLOCKED: AtomicU32 = AtomicU32::new(0);

#[durable::workflow]
async fn blocks(ctx: Ctx) -> Result<(), DurableError> {
    let one = ctx
        .step("one", || async {
            BLOCKED.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(3));
            Ok(1)
        })
        .await?;
    ctx.complete(&one).await
}

#[tokio::test]
async fn a_worker_that_is_blocked_and_taken_for_dead_records_nothing() {
    let db = connect().await;
    let queue = queue(&db).await;
    let id = enqueue(&db, &queue, "blocks", "null").await;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let blocked = std::thread::spawn({
        let queue = queue.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let running = worker(&queue).await;
                while stopped.try_recv().is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                running.stop().await;
            });
        }
    });
    until(&db, &format!("SELECT status FROM durable.history('{id}')"), "RUNNING").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // it has been silent meanwhile
    let thief = unique("thief");
    let steal = format!("durable.recover('{thief}', stale_after => '0 s', handlers => ARRAY['blocks'])");
    assert_eq!(ask(&db, &format!("SELECT count(*) FROM {steal}")).await, "1");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(ask(&db, &format!("SELECT status FROM durable.history('{id}')")).await, "RUNNING");
    execute(&db, &format!("SELECT durable.release('{thief}')")).await;
    until(&db, &format!("durable.output('{id}')"), "1").await;
    assert_eq!(ask(&db, &format!("SELECT attempt FROM durable.history('{id}')")).await, "2");
    assert_eq!(BLOCKED.load(Ordering::SeqCst), 2);
    stop.send(()).unwrap();
    blocked.join().unwrap();
}
