//! The examples of the seed's documentation, run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use durable::sea_orm::{ConnectionTrait, Order};
use durable::serde_json::{Value, json};
use durable::{Ctx, DurableError, RetryPolicy, StartResult, TaskQuery, TaskSort, TaskStatus};
use serde::{Deserialize, Serialize};

use crate::{ask, connect, execute, give, unique};

#[tokio::test]
async fn start_creates_and_attaches() {
    let db = connect().await;
    let name = unique("ingest");
    let ctx = Ctx::start(&db, &name, Some(json!({"crawl": "CC-2026"}))).await.unwrap().into_ctx();
    let again = Ctx::start(&db, &name, None).await.unwrap();
    assert!(again.is_attached() && !again.is_created());
    match &again {
        StartResult::Created(_) => panic!("started twice"),
        StartResult::Attached(other) => assert_eq!(other.task_id(), ctx.task_id()),
    }
    assert_eq!(again.ctx().input::<Value>().await.unwrap(), json!({"crawl": "CC-2026"}));
    ctx.complete(&()).await.unwrap();
    assert!(Ctx::start(&db, &name, None).await.unwrap().is_created());
}

#[tokio::test]
async fn a_step_is_answered_from_its_record() {
    let db = connect().await;
    let runs = AtomicU32::new(0);
    let ctx = Ctx::start(&db, &unique("steps"), None).await.unwrap().into_ctx();
    for replay in 0..3 {
        let ctx = Ctx::from_id(&db, ctx.task_id()).await.unwrap();
        let count: u32 = ctx
            .step("fetch_count", || async {
                runs.fetch_add(1, Ordering::SeqCst);
                Ok(42)
            })
            .await
            .unwrap();
        assert_eq!((count, runs.load(Ordering::SeqCst)), (42, 1), "replay {replay}");
    }
}

#[tokio::test]
async fn a_transaction_and_its_record_are_one() {
    let db = connect().await;
    execute(&db, "CREATE TABLE IF NOT EXISTS rust_ledger (note text)").await;
    let ctx = Ctx::start(&db, &unique("transactions"), None).await.unwrap().into_ctx();
    let note = unique("kept");
    let written = note.clone();
    let count: u32 = ctx
        .transaction("upsert_batch", |tx| {
            Box::pin(async move {
                tx.execute_unprepared(&format!("INSERT INTO rust_ledger VALUES ('{written}')")).await?;
                Ok(1)
            })
        })
        .await
        .unwrap();
    assert_eq!(count, 1);
    assert_eq!(ask(&db, &format!("SELECT count(*) FROM rust_ledger WHERE note = '{note}'")).await, "1");

    let lost = unique("lost");
    let written = lost.clone();
    let error = ctx
        .transaction::<u32, _>("refuse", |tx| {
            Box::pin(async move {
                tx.execute_unprepared(&format!("INSERT INTO rust_ledger VALUES ('{written}')")).await?;
                Err(DurableError::custom("no"))
            })
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "no");
    assert_eq!(ask(&db, &format!("SELECT count(*) FROM rust_ledger WHERE note = '{lost}'")).await, "0");
    assert_eq!(ask(&db, &format!("durable.error(durable.step_id('{}', 1))", ctx.task_id())).await, "Custom: no");
}

#[tokio::test]
async fn a_child_has_steps_of_its_own() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("parent"), None).await.unwrap().into_ctx();
    let child = ctx.child("embed_batch", Some(json!({"vectors": 1000}))).await.unwrap();
    assert_eq!(child.step("embed", || give(7u32)).await.unwrap(), 7);
    assert!(!child.is_completed().await.unwrap());
    assert_eq!(child.get_output::<Value>().await.unwrap(), None);
    child.complete(&json!({"done": true})).await.unwrap();
    assert!(child.is_completed().await.unwrap());

    let replay = Ctx::from_id(&db, ctx.task_id()).await.unwrap();
    let child = replay.child("embed_batch", None).await.unwrap();
    assert_eq!(child.get_output::<Value>().await.unwrap(), Some(json!({"done": true})));
    assert_eq!(child.step::<u32, _, _>("embed", || async { panic!("runs again") }).await.unwrap(), 7);
}

#[tokio::test]
async fn concurrent_steps_run_at_once() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("concurrent"), None).await.unwrap().into_ctx();
    let barrier = tokio::sync::Barrier::new(2);
    let meet = |value: u32| {
        let barrier = &barrier;
        move || async move {
            barrier.wait().await;
            Ok::<u32, DurableError>(value)
        }
    };
    let (a, b) =
        tokio::try_join!(ctx.concurrent_step("fetch_a", meet(1)), ctx.concurrent_step("fetch_b", meet(2))).unwrap();
    assert_eq!((a, b), (1, 2));
}

#[tokio::test]
async fn a_step_is_retried_by_its_policy() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("retries"), None).await.unwrap().into_ctx();
    let runs = AtomicU32::new(0);
    let began = Instant::now();
    let result: u32 = ctx
        .step_with_retry("call_api", RetryPolicy::exponential(3, Duration::from_millis(50)), || async {
            match runs.fetch_add(1, Ordering::SeqCst) {
                n if n < 2 => Err(DurableError::custom("not yet")),
                n => Ok(n),
            }
        })
        .await
        .unwrap();
    assert_eq!(result, 2);
    assert!(began.elapsed() >= Duration::from_millis(150), "pauses of 50 and 100 ms");

    runs.store(0, Ordering::SeqCst);
    let error = ctx
        .step_with_retry::<u32, _, _>("hopeless", RetryPolicy::fixed(1, Duration::ZERO), || async {
            runs.fetch_add(1, Ordering::SeqCst);
            Err(DurableError::custom("never"))
        })
        .await
        .unwrap_err();
    assert_eq!((error.to_string().as_str(), runs.load(Ordering::SeqCst)), ("never", 2));
}

#[tokio::test]
async fn tasks_are_listed_and_counted() {
    let db = connect().await;
    let name = unique("listed");
    let ctx = Ctx::start(&db, &name, Some(json!(1))).await.unwrap().into_ctx();
    ctx.step("one", || give(1)).await.unwrap();
    ctx.step("two", || give(2)).await.unwrap();
    let query = TaskQuery::default()
        .status(TaskStatus::Running)
        .kind("WORKFLOW")
        .root_only(true)
        .name(&name)
        .sort(TaskSort::CreatedAt(Order::Desc))
        .limit(20);
    let tasks = Ctx::list(&db, query.clone()).await.unwrap();
    assert_eq!(tasks.len(), 1);
    assert_eq!((tasks[0].id, tasks[0].status), (ctx.task_id(), TaskStatus::Running));
    assert_eq!(tasks[0].input, Some(json!(1)));
    assert_eq!(Ctx::count(&db, query).await.unwrap(), 1);

    let steps = TaskQuery::default().kind("STEP").parent_id(ctx.task_id()).sort(TaskSort::Name(Order::Asc));
    let names = |tasks: Vec<durable::TaskSummary>| tasks.into_iter().map(|task| task.name).collect::<Vec<_>>();
    assert_eq!(names(Ctx::list(&db, steps.clone()).await.unwrap()), ["one", "two"]);
    assert_eq!(names(Ctx::list(&db, steps.offset(1)).await.unwrap()), ["two"]);
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct IngestInput {
    crawl_id: String,
    shard_count: u32,
}

#[durable::step]
async fn process_shard(crawl_id: &str, shard: u32) -> Result<String, DurableError> {
    Ok(format!("{crawl_id}/{shard}"))
}

#[durable::workflow]
async fn ingest(ctx: Ctx, input: IngestInput) -> Result<(), DurableError> {
    for shard in 0..input.shard_count {
        ctx.step(&format!("shard-{shard}"), || process_shard(&input.crawl_id, shard)).await?;
    }
    ctx.complete(&"done").await?;
    Ok(())
}

#[durable::workflow]
async fn daily_etl(ctx: Ctx) -> Result<u32, DurableError> {
    let data: u32 = ctx.step("extract", || give(3)).await?;
    ctx.complete(&data).await?;
    Ok(data)
}

#[tokio::test]
async fn the_attributes_start_and_find_workflows() {
    let db = connect().await;
    let input = IngestInput { crawl_id: "CC-2026".into(), shard_count: 3 };
    let ctx = durable_ingest(&db, &unique("my-ingest"), input).await.unwrap().into_ctx();
    let id = ctx.task_id();
    let workflow = durable::find_workflow("ingest").expect("registered");
    (workflow.resume_fn)(ctx).await.unwrap();
    let ctx = Ctx::from_id(&db, id).await.unwrap();
    assert_eq!(ctx.get_output::<String>().await.unwrap().as_deref(), Some("done"));
    assert_eq!(ask(&db, &format!("SELECT count(*) FROM durable.history('{id}')")).await, "3");
    assert_eq!(ask(&db, &format!("SELECT handler FROM durable.workflow WHERE id = '{id}'")).await, "ingest");

    let ctx = durable_daily_etl(&db, &unique("my-etl")).await.unwrap().into_ctx();
    assert_eq!(daily_etl(ctx).await.unwrap(), 3);
    assert!(durable::find_workflow("nobody").is_none());
}
