//! Sleeps, signals, events.

use std::time::{Duration, Instant};

use durable::{Ctx, DurableError, Failure, StepOptions};

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

#[tokio::test]
async fn a_callback_is_answered_by_its_token() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("callback"), None).await.unwrap().into_ctx();
    let paid = ctx.callback::<u32>("paid", None);
    paid.begin().await.unwrap();
    assert!(Ctx::answer(&db, paid.step_id(), &7).await.unwrap());
    assert!(!Ctx::answer(&db, paid.step_id(), &7).await.unwrap());
    assert_eq!(paid.await.unwrap(), 7);
}

#[tokio::test]
async fn the_first_to_end_is_the_same_on_a_replay_and_a_gather_waits_for_all() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("several"), None).await.unwrap().into_ctx();
    let id = ctx.task_id();
    for _ in 0..2 {
        let ctx = Ctx::from_id(&db, id).await.unwrap();
        let go = ctx.signal::<u32>("go", None);
        let nap = ctx.sleep("nap", Duration::from_millis(50));
        assert_eq!(ctx.first("first", &[go.place(), nap.place()]).await.unwrap(), 1);
        let naps = ["a", "b"].map(|name| ctx.sleep(name, Duration::from_millis(20)));
        assert_eq!(ctx.gather(naps).await.unwrap(), [(), ()]);
        let late = ["c", "d"].map(|name| ctx.signal::<u32>(name, Some(Duration::from_millis(20))));
        let error = ctx.gather(late).await.unwrap_err();
        assert!(error.is_timeout() && error.to_string().contains("c: "), "{error}");
        // after what the first run has recorded
        Ctx::send_signal(&db, id, "go", &1, None).await.unwrap();
    }
}

#[tokio::test]
async fn items_are_mapped_in_order_and_their_first_failure_is_told() {
    let db = connect().await;
    let ctx = Ctx::start(&db, &unique("map"), None).await.unwrap().into_ctx();
    let items: Vec<u64> = (0..20).collect();
    let squares = ctx.map("square", items.clone(), 4, StepOptions::default(), |_, n| async move {
        tokio::time::sleep(Duration::from_millis(20 - n)).await;
        Ok(n * n)
    });
    assert_eq!(squares.await.unwrap(), items.iter().map(|n| n * n).collect::<Vec<_>>());
    let none = ctx.map::<u64, u64, _, _>("none", vec![], 4, StepOptions::default(), |_, n| async move { Ok(n) });
    assert!(none.await.unwrap().is_empty());
    let odd = ctx.map("odd", items, 4, StepOptions::default(), |_, n| async move {
        if n % 2 == 0 { Ok(n) } else { Err(Failure::new("Odd", n.to_string()).into()) }
    });
    let DurableError::Failed(failure) = odd.await.unwrap_err() else { panic!("of another type") };
    assert_eq!((failure.kind.as_str(), failure.message.as_str(), failure.attempts), ("Odd", "1", Some(1)));
}
