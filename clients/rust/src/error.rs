//! What can go wrong, and how the server's refusals and a step's recorded failure become one of these.

use sea_orm::{DbErr, RuntimeErr};
use serde::de::Error as _;
use serde_json::{Value, json};

/// An error of a workflow, of a step, or of the database.
#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    /// The database cannot be reached, or has refused a statement.
    #[error("database error: {0}")]
    Db(#[from] DbErr),
    /// A value could not be written as JSON, or read from it.
    #[error("serialization error: {0}")]
    Json(#[from] serde_json::Error),
    /// An error of the program's own, or what the server has refused.
    #[error("{0}")]
    Custom(String),
    /// Another executor has the step, or the whole workflow: leave it alone.
    #[error("task locked by another worker: {0}")]
    StepLocked(String),
    /// The workflow's deadline has passed, or a wait's timeout.
    #[error("timeout: {0}")]
    Timeout(String),
    /// The workflow is paused: go on after it was resumed.
    #[error("workflow paused: {0}")]
    Paused(String),
    /// The workflow is cancelled, or was asked to end.
    #[error("workflow cancelled: {0}")]
    Cancelled(String),
    /// The workflow was recovered as often as it may be.
    #[error("max recovery attempts exceeded for workflow {0}")]
    MaxRecoveryExceeded(String),
}

impl DurableError {
    /// An error of the program's own.
    pub fn custom(message: impl Into<String>) -> Self {
        Self::Custom(message.into())
    }

    /// Whether another executor has the step or the workflow.
    pub fn is_step_locked(&self) -> bool {
        matches!(self, Self::StepLocked(_))
    }

    /// Whether a deadline or a timeout has passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Whether the workflow is paused.
    pub fn is_paused(&self) -> bool {
        matches!(self, Self::Paused(_))
    }

    /// Whether the workflow is cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled(_))
    }

    /// Whether the workflow was recovered as often as it may be.
    pub fn is_max_recovery_exceeded(&self) -> bool {
        matches!(self, Self::MaxRecoveryExceeded(_))
    }

    /// Whether it says something about the workflow, not about what a step did: so it is no step's outcome.
    pub(crate) fn is_interrupt(&self) -> bool {
        matches!(self, Self::StepLocked(_) | Self::Paused(_) | Self::Cancelled(_))
    }

    /// The server's answer to a call.
    pub(crate) fn of_call(error: DbErr) -> Self {
        let Some((state, message)) = refusal(&error) else {
            return Self::Db(error);
        };
        match state.as_str() {
            "WF004" => Self::Paused(message),
            "WF005" => Self::Cancelled(message),
            "WF006" => Self::Timeout(message),
            "WF008" => Self::StepLocked(message),
            "WF009" => Self::MaxRecoveryExceeded(message),
            state if state.starts_with("WF") => Self::Custom(message),
            _ => Self::Db(error),
        }
    }

    /// What `fail` keeps beside the text, so that a replay raises the same.
    pub(crate) fn detail(&self) -> Value {
        json!({"type": match self {
            Self::Db(_) => "Db",
            Self::Json(_) => "Json",
            Self::Custom(_) => "Custom",
            Self::StepLocked(_) => "StepLocked",
            Self::Timeout(_) => "Timeout",
            Self::Paused(_) => "Paused",
            Self::Cancelled(_) => "Cancelled",
            Self::MaxRecoveryExceeded(_) => "MaxRecoveryExceeded",
        }})
    }

    /// The text that `recorded` takes: without what Display puts before it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Db(error) => error.to_string(),
            Self::Json(error) => error.to_string(),
            Self::Custom(text)
            | Self::StepLocked(text)
            | Self::Timeout(text)
            | Self::Paused(text)
            | Self::Cancelled(text)
            | Self::MaxRecoveryExceeded(text) => text.clone(),
        }
    }

    /// The failure of a step, as it was recorded by this client or by another.
    pub(crate) fn recorded(text: String, detail: Option<&Value>) -> Self {
        let kind = detail.and_then(|detail| detail.get("type")).and_then(Value::as_str);
        match (kind, text.get(..5)) {
            (_, Some("WF013")) | (Some("Timeout"), _) => Self::Timeout(text),
            (_, Some("WF017")) => Self::Cancelled(text),
            (Some("Db"), _) => Self::Db(DbErr::Custom(text)),
            (Some("Json"), _) => Self::Json(serde_json::Error::custom(text)),
            (Some("MaxRecoveryExceeded"), _) => Self::MaxRecoveryExceeded(text),
            _ => Self::Custom(text),
        }
    }
}

/// The SQLSTATE of a statement that the server has refused, and its message with detail and hint.
fn refusal(error: &DbErr) -> Option<(String, String)> {
    let (DbErr::Query(RuntimeErr::SqlxError(error)) | DbErr::Exec(RuntimeErr::SqlxError(error))) = error else {
        return None;
    };
    let error = error.as_database_error()?;
    let mut message = error.message().to_owned();
    if let Some(error) = error.try_downcast_ref::<sea_orm::sqlx::postgres::PgDatabaseError>() {
        for more in [error.detail(), error.hint()].into_iter().flatten() {
            message.push_str(". ");
            message.push_str(more.trim_end_matches('.'));
        }
    }
    Some((error.code()?.into_owned(), message))
}
