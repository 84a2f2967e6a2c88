//! A program in the style of the seed: ten steps, each of which leaves a trace. Run it, kill it, run it again.

use std::time::Duration;

use durable::sea_orm::{ConnectionTrait, DatabaseConnection};
use durable::{Ctx, DurableError, HeartbeatConfig};

async fn trace(db: &DatabaseConnection, workflow: &str, step: u32) -> Result<u32, DurableError> {
    db.execute_unprepared(&format!("INSERT INTO rust_effects VALUES ('{workflow}', 'step {step}')")).await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(1)
}

#[durable::workflow]
async fn ten_steps(ctx: Ctx, name: String) -> Result<(), DurableError> {
    let mut sum = 0;
    for step in 1..=9 {
        sum += ctx.step(&format!("step {step}"), || trace(ctx.db(), &name, step)).await?;
    }
    let booked = name.clone();
    sum += ctx
        .transaction("book", |tx| {
            Box::pin(async move {
                tx.execute_unprepared(&format!("INSERT INTO rust_effects VALUES ('{booked}', 'booked')")).await?;
                Ok(1)
            })
        })
        .await?;
    ctx.complete(&sum).await
}

#[tokio::main]
async fn main() -> Result<(), DurableError> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err(DurableError::custom("usage: seed_style URL NAME"));
    };
    // a dead process is taken over as soon as it was silent for that long
    let config = HeartbeatConfig {
        heartbeat_interval: Duration::from_millis(200),
        staleness_threshold: Duration::from_millis(600),
    };
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (db, _recovered) = durable::init_with_config(&url, config).await?;
    let ctx = durable_ten_steps(&db, &name, name.clone()).await?.into_ctx();
    ten_steps(ctx, name).await
}
