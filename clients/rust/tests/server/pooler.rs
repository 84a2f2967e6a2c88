//! Behind PgBouncer in transaction mode, with default settings, without being told.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use durable::sea_orm::{ConnectionTrait, DbBackend, Statement};
use durable::{Ctx, DurableError, TaskQuery, Worker};

use crate::workers::{Running, begin, queue, until};
use crate::{ask, connect, execute, give, unique, variable};

struct Pooler {
    process: Child,
    directory: PathBuf,
}

impl Pooler {
    /// None where there is no pgbouncer.
    async fn start() -> Option<Self> {
        let directory = std::env::temp_dir().join(unique("pooler").replace(' ', "-"));
        std::fs::create_dir(&directory).expect("a new directory");
        let mut process = Command::new("clients/conformance/pooler").arg(&directory).spawn().expect("run-tests");
        while !directory.join(".s.PGSQL.6544").exists() {
            if let Some(status) = process.try_wait().expect("a status") {
                assert_eq!(status.code(), Some(77), "{status}");
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(Self { process, directory })
    }

    fn url(&self) -> String {
        let (user, database) = (variable("PGUSER"), variable("PGDATABASE"));
        format!("postgres://{user}@localhost/{database}?host={}&port=6544", self.directory.display())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const ODD: &str = "it's \\ \"$1\" \u{1a}\n ü";

#[tokio::test]
async fn all_goes_through_a_pooler() {
    let Some(pooler) = Pooler::start().await else {
        eprintln!("skipped: there is no pgbouncer");
        return;
    };
    let (db, direct) = (durable::init_db(&pooler.url()).await.unwrap(), connect().await);
    let queue = queue(&direct).await;
    let table = format!("ledger_{}", std::process::id());
    execute(&direct, &format!("CREATE TABLE {table} (name text, session int)")).await;
    let insert = format!("INSERT INTO {table} VALUES ($1, pg_backend_pid())");
    let program = move |ctx: Ctx| {
        let insert = insert.clone();
        async move {
            let n: u32 = ctx.input().await?;
            let mut sum = 0;
            for i in 0..4 {
                sum += ctx.step(&format!("s{i}"), || give(i)).await?;
            }
            ctx.transaction("book", |tx| {
                Box::pin(async move {
                    let arguments = [format!("{n}").into()];
                    tx.execute(Statement::from_sql_and_values(DbBackend::Postgres, &insert, arguments)).await?;
                    Ok(())
                })
            })
            .await?;
            ctx.emit("booked", &n).await?;
            let payload: (u32, String) = ctx.signal("go", None).await?;
            assert_eq!(payload.1, ODD);
            Ok::<u32, DurableError>(sum + payload.0)
        }
    };
    // neither of two workers takes from the other what it drives
    let mut workers: Vec<Running> = Vec::new();
    for executor in ["pooled 1", "pooled 2"] {
        let worker = Worker::new(&pooler.url(), &[&queue]).await.unwrap().executor_id(executor);
        workers.push(begin(worker.workflow("pooled", program.clone())));
    }
    let mut handles = Vec::new();
    for n in 0..12u32 {
        let name = format!("{queue} {ODD} {n}");
        handles.push(Ctx::enqueue(&db, &name, &queue, "pooled", Some(n.into())).await.unwrap());
    }
    let suspended =
        format!("SELECT count(*) FROM durable.workflow WHERE queue_name = '{queue}' AND suspended_at IS NOT NULL");
    until(&direct, &suspended, "12").await;
    for handle in &handles {
        assert!(Ctx::send_signal(&db, handle.id, "go", &(100, ODD), Some(ODD)).await.unwrap());
    }
    for handle in &handles {
        assert_eq!(handle.result::<u32>(Some(Duration::from_secs(30))).await.unwrap(), 106);
    }
    let tasks = Ctx::list(&db, TaskQuery::default().queue_name(&queue)).await.unwrap();
    assert_eq!(tasks.len(), 12);
    assert!(tasks.iter().all(|task| task.name.contains(ODD) && task.completed_at.is_some()));
    assert_eq!(ask(&direct, &format!("SELECT (count(*), count(DISTINCT session)) FROM {table}")).await, "(12,2)");
    let taken = format!("SELECT max(recovery_count) FROM durable.workflow WHERE queue_name = '{queue}'");
    assert_eq!(ask(&direct, &taken).await, "0");
    let bound = "SELECT count(*) FROM durable.executor WHERE executor_id LIKE 'pooled %' AND bound IS NOT NULL";
    assert_eq!(ask(&direct, bound).await, "0");
    // a drain hands back what runs
    let last = Ctx::enqueue(&db, &unique("last"), &queue, "pooled", Some(1.into())).await.unwrap();
    until(&direct, &format!("SELECT count(*) FROM {table}"), "13").await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(ask(&direct, &format!("durable.status('{}')", last.id)).await, "PENDING");
}
