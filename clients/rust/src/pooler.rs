//! Poolers. Behind one, each transaction may have another session, without what was prepared in it. So a call is a
//! statement of its own there, with its arguments in it.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use sea_orm::sea_query::{PostgresQueryBuilder, QueryBuilder};
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::{self, ConnectOptions as _, Connection};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr, QueryResult, RuntimeErr,
    TransactionTrait, Value,
};

/// Nobody waits in a session there, which others need: the pause between two looks.
pub(crate) const LOOK: Duration = Duration::from_millis(250);

/// What `sqlx` has prepared in a session is never closed where it keeps no statements, and the next one has the same names.
const FORGET: &str = "DO $$DECLARE r record; BEGIN \
    FOR r IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE name LIKE 'sqlx\\_s\\_%' LOOP \
    EXECUTE pg_catalog.format('DEALLOCATE %I', r.name); END LOOP; END$$";

type Address = (String, u16, Option<std::path::PathBuf>, Option<String>, String);

static KNOWN: RwLock<Option<HashMap<Address, bool>>> = RwLock::new(None);

/// Whether a pooler stands between, which is asked once for an address: two connections whose sessions change, or are the same.
pub(crate) async fn is_between(options: &PgConnectOptions) -> Result<bool, DbErr> {
    let address = (
        options.get_host().to_owned(),
        options.get_port(),
        options.get_socket().cloned(),
        options.get_database().map(str::to_owned),
        options.get_username().to_owned(),
    );
    let known =
        KNOWN.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|all| all.get(&address).copied());
    if let Some(known) = known {
        return Ok(known);
    }
    let found = look(options).await.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error)))?;
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(address, found);
    Ok(found)
}

async fn look(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut two = [options.connect().await?, options.connect().await?];
    let mut sessions = Vec::new();
    for one in [0, 1, 1, 0] {
        let row = sqlx::Executor::fetch_one(&mut two[one], sqlx::raw_sql("SELECT pg_backend_pid()")).await?;
        sessions.push(sqlx::Row::try_get::<i32, _>(&row, 0)?);
    }
    for one in two {
        one.close().await?;
    }
    Ok(sessions[0] != sessions[3] || sessions[1] != sessions[2] || sessions[0] == sessions[1])
}

/// Connects, so that it also works behind a pooler.
pub(crate) async fn connect(mut options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    // PgBouncer refuses it, and servers since 12 do the same by themselves
    let as_taken = |options: PgConnectOptions| options.extra_float_digits(None);
    let address: PgConnectOptions =
        options.get_url().parse().map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error)))?;
    let is_pooled = is_between(&as_taken(address)).await?;
    options.sqlx_logging(false).map_sqlx_postgres_opts(move |options| {
        let options = as_taken(options);
        if is_pooled { options.statement_cache_capacity(0) } else { options }
    });
    Database::connect(options).await
}

/// The pool of connections to a pooler, if there is one.
pub(crate) async fn behind(db: &DatabaseConnection) -> Result<Option<&sqlx::PgPool>, DbErr> {
    let DatabaseConnection::SqlxPostgresPoolConnection(_) = db else { return Ok(None) };
    let pool = db.get_postgres_connection_pool();
    Ok(is_between(&pool.connect_options()).await?.then_some(pool))
}

/// A transaction, in which statements can be prepared.
pub(crate) async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let tx = db.begin().await?;
    if behind(db).await?.is_some() {
        tx.execute_unprepared(FORGET).await?;
    }
    Ok(tx)
}

/// Runs a statement that is not prepared.
pub(crate) async fn query(pool: &sqlx::PgPool, sql: &str, arguments: &[Value]) -> Result<Vec<QueryResult>, DbErr> {
    let sql = with_literals(sql, arguments);
    let rows = sqlx::Executor::fetch_all(pool, sqlx::raw_sql(&sql)).await;
    let rows = rows.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error)))?;
    Ok(rows.into_iter().map(QueryResult::from).collect())
}

/// A statement, without a $ but before the numbers of its arguments, with these in it.
fn with_literals(sql: &str, arguments: &[Value]) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let (number, rest) = part.split_at(end);
        let argument = number.parse().ok().and_then(|number: usize| arguments.get(number - 1));
        text += &argument.map_or_else(|| format!("${number}"), literal);
        text += rest;
    }
    text
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(Some(text)) => quoted(text),
        Value::Json(Some(json)) => quoted(&json.to_string()),
        Value::Array(_, Some(items)) if !items.is_empty() => {
            format!("ARRAY[{}]", items.iter().map(literal).collect::<Vec<_>>().join(","))
        }
        other => PostgresQueryBuilder.value_to_string(other),
    }
}

/// (The server refuses a \0, as it does in an argument.)
fn quoted(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_literals() {
        let nothing: Option<String> = None;
        let arguments: [Value; 5] = [
            r"it's \ $2".into(),
            7.into(),
            serde_json::json!({"a": "b'\n"}).into(),
            vec!["x'y".to_owned(), String::new()].into(),
            nothing.into(),
        ];
        assert_eq!(
            with_literals("f($1, b => $2::int, $3, $4)::text, $5", &arguments),
            r#"f(E'it''s \\ $2', b => 7::int, E'{"a":"b''\\n"}', ARRAY[E'x''y',E''])::text, NULL"#
        );
    }
}
