//! The Rust client as a contestant: the protocol with `run` is in README.md.

use std::io::Write;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use durable::sea_orm::{ConnectionTrait, DatabaseConnection};
use durable::{Ctx, DurableError, Worker};
use tokio::sync::Notify;
use tokio::time::sleep;

const STEPS: u32 = 10;
const QUEUE: &str = "default";

static DONE: AtomicUsize = AtomicUsize::new(0);
static BEGAN: AtomicI64 = AtomicI64::new(-1);
static RUNS: Notify = Notify::const_new();

#[durable::workflow]
async fn workflow(ctx: Ctx, n: i64) -> Result<(), DurableError> {
    began(n);
    for step in 0..STEPS {
        ctx.step(&format!("step-{step}"), || async move { Ok(did(step)) })
            .await?;
    }
    ctx.complete(&()).await
}

#[durable::workflow]
async fn job(ctx: Ctx, n: i64) -> Result<(), DurableError> {
    began(n);
    ctx.complete(&did(())).await
}

fn began(n: i64) {
    BEGAN.store(n, SeqCst);
    RUNS.notify_one();
}

/// A step of a workflow is done, or a job.
fn did<T>(value: T) -> T {
    DONE.fetch_add(1, SeqCst);
    value
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("somebody reads it");
}

struct Contest {
    db: DatabaseConnection,
    kind: String,
    count: usize,
    time: Duration,
}

impl Contest {
    async fn enqueue(&self, first: usize, number: usize) -> Result<(), DurableError> {
        let (kind, last) = (&self.kind, first + number - 1);
        let starts = format!(
            "SELECT FROM generate_series({first}, {last}) n,
             durable.start('w-' || n, to_jsonb(n), '{kind}', queue => '{QUEUE}')"
        );
        self.db.execute_unprepared(&starts).await?;
        Ok(())
    }

    /// Until all have ended, or the time is over; the first second is not counted.
    async fn throughput(&self) {
        let all = self.count
            * if self.kind == "job" {
                1
            } else {
                STEPS as usize
            };
        until(None, 1).await;
        until(Some(Duration::from_secs(1)), all / 10).await;
        say(&format!("begin {}", DONE.load(SeqCst)));
        until(Some(self.time), all).await;
        say(&format!("end {}", DONE.load(SeqCst)));
    }

    /// One after the other, each into an idle worker's queue.
    async fn latency(&self) -> Result<(), DurableError> {
        sleep(Duration::from_secs(1)).await;
        let over = Instant::now() + self.time;
        for n in 0..self.count {
            if Instant::now() > over {
                break;
            }
            let since = Instant::now();
            self.enqueue(n, 1).await?;
            while BEGAN.load(SeqCst) != i64::try_from(n).expect("few") {
                RUNS.notified().await;
            }
            say(&format!("latency {}", since.elapsed().as_secs_f64()));
            sleep(Duration::from_millis(
                20 + u64::from(since.elapsed().subsec_nanos()) % 200,
            ))
            .await;
        }
        say("end 0");
        Ok(())
    }
}

/// Until so much is done, or the time is over.
async fn until(time: Option<Duration>, number: usize) {
    let since = Instant::now();
    while DONE.load(SeqCst) < number && time.is_none_or(|time| since.elapsed() < time) {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), DurableError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, kind, concurrency, count, seconds] = arguments.as_slice() else {
        return Err(DurableError::custom(
            "usage: bench MODE KIND CONCURRENCY COUNT SECONDS",
        ));
    };
    let number = |text: &str| {
        text.parse::<u32>()
            .map_err(|error| DurableError::custom(error.to_string()))
    };
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let host = env("PGHOST").replace('/', "%2F");
    let url = format!("postgres://{}@{host}/{}", env("PGUSER"), env("PGDATABASE"));

    let db = durable::sea_orm::Database::connect(&url).await?;
    db.execute_unprepared(&format!(
        "CREATE EXTENSION durable; SELECT durable.create_queue('{QUEUE}')"
    ))
    .await?;
    let worker = Worker::new(&url, &[QUEUE])
        .await?
        .concurrency(number(concurrency)? as usize);
    let time = Duration::from_secs(number(seconds)?.into());
    let contest = Contest {
        db,
        kind: kind.clone(),
        count: number(count)? as usize,
        time,
    };
    if mode == "latency" {
        tokio::spawn(worker.run());
        contest.latency().await?;
    } else {
        contest.enqueue(0, contest.count).await?;
        say("ready 0");
        std::io::stdin()
            .read_line(&mut String::new())
            .map_err(|error| DurableError::custom(error.to_string()))?;
        tokio::spawn(worker.run());
        contest.throughput().await;
    }
    sleep(Duration::from_secs(60)).await; // it is ended from outside
    Ok(())
}
