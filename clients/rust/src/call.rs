//! The one way to call a function of the extension.

use std::future::Future;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement, TryGetable,
    Value,
};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::pooler;

/// A call that has no answer: the server has refused it, or cannot be reached.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) DbErr);

impl From<DbErr> for Refused {
    fn from(error: DbErr) -> Self {
        Self(error)
    }
}

/// Where a statement can be run.
pub(crate) trait Callable: Sync {
    fn query(&self, sql: &str, arguments: Vec<Value>) -> impl Future<Output = Result<Vec<QueryResult>, DbErr>> + Send;
}

impl Callable for DatabaseTransaction {
    async fn query(&self, sql: &str, arguments: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
        self.query_all(Statement::from_sql_and_values(DbBackend::Postgres, sql, arguments)).await
    }
}

impl Callable for DatabaseConnection {
    async fn query(&self, sql: &str, arguments: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
        match pooler::behind(self).await? {
            Some(pool) => pooler::query(pool, sql, &arguments).await,
            None => self.query_all(Statement::from_sql_and_values(DbBackend::Postgres, sql, arguments)).await,
        }
    }
}

/// Calls a function; its rows.
pub(crate) async fn rows(db: &impl Callable, sql: &str, arguments: Vec<Value>) -> Result<Vec<QueryResult>, Refused> {
    Ok(db.query(sql, arguments).await?)
}

/// Calls a function that answers one row.
pub(crate) async fn row(db: &impl Callable, sql: &str, arguments: Vec<Value>) -> Result<QueryResult, Refused> {
    let row = rows(db, sql, arguments).await?.into_iter().next();
    row.ok_or_else(|| Refused(DbErr::RecordNotFound(format!("no row from {sql}"))))
}

/// Calls a function that answers one value.
pub(crate) async fn value<T: TryGetable>(db: &impl Callable, sql: &str, arguments: Vec<Value>) -> Result<T, Refused> {
    column(&row(db, sql, arguments).await?, 0)
}

/// A column of a row, from 0.
pub(crate) fn column<T: TryGetable>(row: &QueryResult, index: usize) -> Result<T, Refused> {
    Ok(row.try_get_by_index(index)?)
}

/// Nothing is NULL, not the null of JSON, in all languages.
pub(crate) fn nullable(json: Option<Json>) -> Value {
    json.filter(|json| !json.is_null()).into()
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
pub(crate) async fn claimed(db: &impl Callable, function: &str, arguments: Vec<Value>) -> Result<Claimed, Refused> {
    let sql = format!(
        "SELECT (s.c).step_id, (s.c).action::text, (s.c).output, (s.c).error, (s.c).attempt, \
         greatest(extract(epoch FROM (s.c).run_at - durable.clock()), 0)::float8, (s.c).detail \
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

/// Finds or starts a child: its id, whether it is new, its lease, and what [`of_child`] takes.
pub(crate) async fn child(db: &impl Callable, parameters: &str, arguments: Vec<Value>) -> Result<QueryResult, Refused> {
    let columns = "workflow_id, created, lease, status::text, output, error";
    row(db, &format!("SELECT {columns} FROM durable.start_child({parameters})"), arguments).await
}

/// What a child that has ended, or not yet, answers as a position of its parent. It has
/// no attempts, and what its parent gets of a failure stands in its text.
pub(crate) fn of_child(step_id: Uuid, row: &QueryResult) -> Result<Claimed, Refused> {
    let status: String = column(row, 3)?;
    let action = match status.as_str() {
        "COMPLETED" => "REPLAY",
        "FAILED" | "CANCELLED" => "FAILED",
        _ => "WAIT",
    };
    let (output, error) = (column(row, 4)?, column(row, 5)?);
    Ok(Claimed { step_id, action: action.to_owned(), output, error, attempt: 0, wait: None, detail: None })
}
