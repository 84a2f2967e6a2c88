//! A workflow that a worker runs, from outside.

use std::time::Duration;

use sea_orm::DatabaseConnection;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::call::{column, nullable, row};
use crate::retry::retry_db_write;
use crate::step::decode;
use crate::{Ctx, DurableError, pooler};

/// A workflow that was started in a queue.
#[derive(Debug, Clone)]
pub struct Handle {
    db: DatabaseConnection,
    /// its id
    pub id: Uuid,
    /// whether it was new
    pub created: bool,
}

impl Ctx {
    /// Starts a workflow in a queue, or finds the unfinished one of that name. A worker runs it, by its function of the
    /// name `handler`.
    ///
    /// ```no_run
    /// # use durable::Ctx;
    /// # async fn f(db: sea_orm::DatabaseConnection) -> Result<(), durable::DurableError> {
    /// let handle = Ctx::enqueue(&db, "order-17", "orders", "order", Some("book".into())).await?;
    /// let shelf: String = handle.result(None).await?;
    /// # Ok(()) }
    /// ```
    pub async fn enqueue(
        db: &DatabaseConnection,
        name: &str,
        queue: &str,
        handler: &str,
        input: Option<Json>,
    ) -> Result<Handle, DurableError> {
        let sql = "SELECT workflow_id, created FROM durable.start($1, $2, $3, queue => $4)";
        let row = row(db, sql, vec![name.into(), nullable(input), handler.into(), queue.into()]).await?;
        Ok(Handle { db: db.clone(), id: column(&row, 0)?, created: column(&row, 1)? })
    }
}

/// (Columns of types of its own come as texts only.)
const END: &str = "SELECT durable.status($1)::text, durable.output($1), durable.error($1), durable.continued_as($1)";

impl Handle {
    /// Waits for its output, or its failure; of the last run, where it goes on in next ones.
    pub async fn result<T: DeserializeOwned>(&self, timeout: Option<Duration>) -> Result<T, DurableError> {
        let run = async {
            let mut id = self.id;
            loop {
                let call = || async {
                    let is_pooled = pooler::behind(&self.db).await?.is_some();
                    if !is_pooled {
                        row(&self.db, "CALL durable.wait_for_end($1)", vec![id.into()]).await?;
                    }
                    Ok((is_pooled, row(&self.db, END, vec![id.into()]).await?))
                };
                let (is_pooled, end) = retry_db_write(call).await?;
                let error: Option<String> = column(&end, 2)?;
                match column::<String>(&end, 0)?.as_str() {
                    "COMPLETED" => match column(&end, 3)? {
                        Some(next) => id = next,
                        None => return decode(column(&end, 1)?),
                    },
                    "FAILED" => {
                        return Err(DurableError::recorded(&id.to_string(), &error.unwrap_or_default(), None, None));
                    }
                    "CANCELLED" => return Err(DurableError::Cancelled(format!("workflow {id} was cancelled"))),
                    _ if is_pooled => tokio::time::sleep(pooler::LOOK).await,
                    _ => (),
                }
            }
        };
        match timeout {
            None => run.await,
            Some(time) => tokio::time::timeout(time, run)
                .await
                .unwrap_or_else(|_| Err(DurableError::Timeout(format!("workflow {} has not ended", self.id)))),
        }
    }
}
