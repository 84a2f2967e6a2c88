//! Pausing, cancelling, failing, resuming; and what each raises in the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durable::{Ctx, DurableError, TaskQuery, TaskStatus};

use crate::{ask, connect, give, unique};

async fn status(ctx: &Ctx) -> String {
    ask(ctx.db(), &format!("durable.status('{}')", ctx.task_id())).await
}

#[tokio::test]
async fn a_pause_stops_the_next_step() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("paused"), None).await.unwrap().into_ctx();
    Ctx::pause(&db, ctx.task_id()).await.unwrap();
    let error = ctx.step("one", || give(1)).await.unwrap_err();
    assert!(error.is_paused(), "{error}");
    Ctx::resume(&db, ctx.task_id()).await.unwrap();
    let ctx = Ctx::from_id(&db, ctx.task_id()).await.unwrap();
    assert_eq!(ctx.step("one", || give(1)).await.unwrap(), 1);
    let error = Ctx::resume(&db, ctx.task_id()).await.unwrap_err();
    assert!(matches!(&error, DurableError::Custom(text) if text.contains("RUNNING")), "{error}");
}

#[tokio::test]
async fn a_cancelled_workflow_runs_nothing() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("cancelled"), None).await.unwrap().into_ctx();
    Ctx::cancel(&db, ctx.task_id()).await.unwrap();
    assert!(ctx.step("one", || give(1)).await.unwrap_err().is_cancelled());
    assert!(ctx.complete(&1).await.unwrap_err().is_cancelled());
    assert_eq!(status(&ctx).await, "CANCELLED");
}

#[tokio::test]
async fn a_failed_step_fails_on_each_replay_until_it_is_resumed() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("failed"), None).await.unwrap().into_ctx();
    let works = AtomicBool::new(false);
    let run = |ctx: Ctx| {
        let works = &works;
        async move {
            ctx.step("fragile", || async {
                match works.load(Ordering::SeqCst) {
                    false => Err(DurableError::Timeout("too slow".into())),
                    true => Ok(5),
                }
            })
            .await
        }
    };
    let id = ctx.task_id();
    let first = run(ctx).await.unwrap_err();
    works.store(true, Ordering::SeqCst);
    let replayed = run(Ctx::from_id(&db, id).await.unwrap()).await.unwrap_err();
    assert!(first.is_timeout() && replayed.is_timeout(), "the same type: {first}, {replayed}");
    assert_eq!(first.to_string(), replayed.to_string());

    Ctx::from_id(&db, id).await.unwrap().fail("given up").await.unwrap();
    assert_eq!(Ctx::resume_failed(&db, id).await.unwrap(), None);
    assert_eq!(run(Ctx::from_id(&db, id).await.unwrap()).await.unwrap(), 5);
}

#[tokio::test]
async fn a_workflow_is_failed_by_its_id() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("by id"), None).await.unwrap().into_ctx();
    Ctx::fail_by_id(&db, ctx.task_id(), "operator").await.unwrap();
    assert_eq!(status(&ctx).await, "FAILED");
    let found = Ctx::count(&db, TaskQuery::default().status(TaskStatus::Failed)).await.unwrap();
    assert!(found >= 1);
}

#[tokio::test]
async fn a_deadline_passes() {
    let db = connect().await;
    let ctx = Ctx::start_with_timeout(&db, &unique("late"), None, 50).await.unwrap().into_ctx();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(ctx.step("one", || give(1)).await.unwrap_err().is_timeout());
    ctx.set_timeout(60_000).await.unwrap();
    let ctx = Ctx::from_id(&db, ctx.task_id()).await.unwrap();
    assert_eq!(ctx.step("one", || give(1)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_changed_program_is_told_so() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("changed"), None).await.unwrap().into_ctx();
    ctx.step("old", || give(1)).await.unwrap();
    let ctx = Ctx::from_id(&db, ctx.task_id()).await.unwrap();
    let error = ctx.step("new", || give(1)).await.unwrap_err();
    assert!(matches!(&error, DurableError::Custom(text) if text.contains("old")), "{error}");
}
