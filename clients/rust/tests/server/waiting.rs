//! Sleeps, signals, events.

use std::time::{Duration, Instant};

use durable::Ctx;

use crate::{ask, connect, unique};

#[tokio::test]
async fn a_sleep_counts_from_its_first_call() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("sleeps"), None).await.unwrap().into_ctx();
    let began = Instant::now();
    let (id, nap) = (ctx.task_id(), Duration::from_millis(400));
    assert!(tokio::time::timeout(Duration::from_millis(100), ctx.sleep("nap", nap)).await.is_err());
    let again = Ctx::from_id(&db, id).await.unwrap();
    again.sleep("nap", nap).await.unwrap();
    let slept = began.elapsed();
    assert!(slept >= nap && slept < Duration::from_secs(5), "{slept:?}");
}

#[tokio::test]
async fn a_signal_is_taken_once() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("signals"), None).await.unwrap().into_ctx();
    let id = ctx.task_id();
    assert!(Ctx::send_signal(&db, id, "approved", &"ann", Some("k")).await.unwrap());
    assert!(!Ctx::send_signal(&db, id, "approved", &"ann", Some("k")).await.unwrap());
    assert_eq!(ctx.signal::<String>("approved", None).await.unwrap(), "ann");
    let error = ctx.signal::<String>("approved", Some(Duration::from_millis(50))).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let replay = Ctx::from_id(&db, id).await.unwrap();
    assert_eq!(replay.signal::<String>("approved", None).await.unwrap(), "ann");
    assert!(replay.signal::<String>("approved", None).await.unwrap_err().is_timeout());
}

#[tokio::test]
async fn a_signal_ends_a_wait_that_is_open() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("open"), None).await.unwrap().into_ctx();
    let id = ctx.task_id();
    let send = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ctx::send_signal(&db, id, "go", &7, None).await
    };
    let (got, sent) = tokio::join!(ctx.signal::<u32>("go", None), send);
    assert_eq!((got.unwrap(), sent.unwrap()), (7, true));
}

#[tokio::test]
async fn events_are_numbered() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("events"), None).await.unwrap().into_ctx();
    assert_eq!(ctx.emit("progress", &10).await.unwrap(), 1);
    assert_eq!(ctx.emit("progress", &20).await.unwrap(), 2);
    let replay = Ctx::from_id(&db, ctx.task_id()).await.unwrap();
    assert_eq!(replay.emit("progress", &10).await.unwrap(), 1);
    let sql = format!("SELECT string_agg(payload::text, ' ') FROM durable.events('{}', 'progress')", ctx.task_id());
    assert_eq!(ask(&db, &sql).await, "10 20");
}
