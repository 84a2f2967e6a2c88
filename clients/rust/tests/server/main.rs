//! Tests against a server that has the extension; `run-tests` starts one.

mod control;
mod faults;
mod pooler;
mod seed;
mod troubles;
mod waiting;
mod workers;

use std::sync::atomic::{AtomicU32, Ordering};

use durable::DurableError;
use durable::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: use run-tests"))
}

/// The address of the server, from what libpq's programs read.
fn url() -> String {
    url_of(&variable("PGDATABASE"))
}

fn url_of(database: &str) -> String {
    format!(
        "postgres://{}@localhost/{database}?host={}&port={}",
        variable("PGUSER"),
        variable("PGHOST"),
        variable("PGPORT")
    )
}

async fn connect() -> DatabaseConnection {
    durable::init_db(&url()).await.expect("a server with the extension")
}

/// A name that no other test has.
fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name} {} {}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst))
}

async fn execute(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// One value, as a text.
async fn ask(db: &DatabaseConnection, sql: &str) -> String {
    let sql = format!("SELECT ({sql})::text");
    let row = db.query_one(Statement::from_string(DbBackend::Postgres, sql)).await.expect("an answer").expect("a row");
    row.try_get_by_index::<Option<String>>(0).expect("a text").unwrap_or_else(|| "NULL".to_owned())
}

/// What a program's own step does.
async fn give<T>(value: T) -> Result<T, DurableError> {
    Ok(value)
}
