//! The one way to call a function of the extension.

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, TryGetable, Value};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::DurableError;

/// Calls a function; its rows.
pub(crate) async fn rows(
    db: &impl ConnectionTrait,
    sql: &str,
    arguments: Vec<Value>,
) -> Result<Vec<QueryResult>, DurableError> {
    db.query_all(Statement::from_sql_and_values(DbBackend::Postgres, sql, arguments))
        .await
        .map_err(DurableError::of_call)
}

/// Calls a function that answers one row.
pub(crate) async fn row(
    db: &impl ConnectionTrait,
    sql: &str,
    arguments: Vec<Value>,
) -> Result<QueryResult, DurableError> {
    let row = db.query_one(Statement::from_sql_and_values(DbBackend::Postgres, sql, arguments)).await;
    row.map_err(DurableError::of_call)?.ok_or_else(|| DurableError::custom(format!("no row from {sql}")))
}

/// Calls a function that answers one value.
pub(crate) async fn value<T: TryGetable>(
    db: &impl ConnectionTrait,
    sql: &str,
    arguments: Vec<Value>,
) -> Result<T, DurableError> {
    column(&row(db, sql, arguments).await?, 0)
}

/// A column of a row, from 0.
pub(crate) fn column<T: TryGetable>(row: &QueryResult, index: usize) -> Result<T, DurableError> {
    Ok(row.try_get_by_index(index)?)
}

/// What a step or a wait answers: `durable.claimed_step`, and the seconds until `run_at`.
pub(crate) struct Claimed {
    pub(crate) step_id: Uuid,
    pub(crate) action: String,
    pub(crate) output: Option<Json>,
    pub(crate) error: Option<String>,
    pub(crate) attempt: i32,
    pub(crate) wait: Option<f64>,
    pub(crate) detail: Option<Json>,
}

/// Calls a function that answers `durable.claimed_step`.
pub(crate) async fn claimed(
    db: &impl ConnectionTrait,
    function: &str,
    arguments: Vec<Value>,
) -> Result<Claimed, DurableError> {
    let sql = format!(
        "SELECT (s.c).step_id, (s.c).action::text, (s.c).output, (s.c).error, (s.c).attempt, \
         greatest(extract(epoch FROM (s.c).run_at - clock_timestamp()), 0)::float8, (s.c).detail \
         FROM (SELECT {function} AS c OFFSET 0) s"
    );
    let row = row(db, &sql, arguments).await?;
    Ok(Claimed {
        step_id: column(&row, 0)?,
        action: column(&row, 1)?,
        output: column(&row, 2)?,
        error: column(&row, 3)?,
        attempt: column(&row, 4)?,
        wait: column(&row, 5)?,
        detail: column(&row, 6)?,
    })
}
