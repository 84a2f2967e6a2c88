//! Waiting and telling: sleeps, signals, events.

use std::time::Duration;

use sea_orm::{DatabaseConnection, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::call::{claimed, value};
use crate::{Ctx, DurableError};

impl Ctx {
    /// Waits for that long, counted from the first time that the program came here, however often it crashed since.
    pub async fn sleep(&self, name: &str, duration: Duration) -> Result<(), DurableError> {
        let function = "durable.sleep($1, $2, $3, duration => make_interval(secs => $4), lease => $5)";
        self.wait(function, name, true, Some(duration)).await.map(drop)
    }

    /// Waits for a signal of that name, and takes it. `Timeout` if none was sent in that time.
    pub async fn signal<T: DeserializeOwned>(&self, name: &str, timeout: Option<Duration>) -> Result<T, DurableError> {
        // by a list of names, as all clients record it: so each can go on where another stopped
        let function = "durable.await_signal($1, $2, $3, timeout => make_interval(secs => $4), lease => $5, \
                        signals => ARRAY[$3])";
        let mut output = self.wait(function, name, false, timeout).await?;
        Ok(serde_json::from_value(output["payload"].take())?)
    }

    /// Sends a signal to a workflow. With a key, the second one of that key is not sent: false.
    pub async fn send_signal<T: Serialize>(
        db: &DatabaseConnection,
        task_id: Uuid,
        name: &str,
        payload: &T,
        key: Option<&str>,
    ) -> Result<bool, DurableError> {
        let arguments: Vec<Value> =
            vec![task_id.into(), name.into(), serde_json::to_value(payload)?.into(), key.map(str::to_owned).into()];
        value(db, "SELECT durable.signal($1, $2, $3, $4)", arguments).await
    }

    /// Says something that others can follow while the workflow runs: once, also if the program comes by again.
    /// Returns the number of the event in the workflow.
    pub async fn emit<T: Serialize>(&self, topic: &str, payload: &T) -> Result<i64, DurableError> {
        let payload = serde_json::to_value(payload)?;
        let arguments: Vec<Value> = vec![self.task_id().into(), topic.into(), payload.into(), self.lease().into()];
        self.transaction(&format!("emit:{topic}"), |tx| {
            Box::pin(async move { value(tx, "SELECT durable.emit($1, $2, $3, $4)", arguments).await })
        })
        .await
    }

    async fn wait(
        &self,
        function: &str,
        name: &str,
        only_time: bool,
        duration: Option<Duration>,
    ) -> Result<serde_json::Value, DurableError> {
        let sequence = self.next_sequence();
        if let Some(output) = self.replayed(sequence, name, "WAIT").await? {
            return Ok(output.unwrap_or_default());
        }
        let seconds = duration.map(|duration| duration.as_secs_f64());
        let output = self
            .until_settled(name, only_time, || {
                let arguments =
                    vec![self.task_id().into(), sequence.into(), name.into(), seconds.into(), self.lease().into()];
                claimed(self.db(), function, arguments)
            })
            .await?;
        Ok(output.unwrap_or_default())
    }
}
