//! What can go wrong, and how the server's refusals and a step's recorded failure become one of these.

use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr, sqlx};
use serde::de::Error as _;
use serde_json::{Value, json};

use crate::call::Refused;

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
    /// A failure with a type of its own, of this program or of one in another language.
    #[error("{0}")]
    Failed(Box<Failure>),
}

/// A failure with a type, which a step raises, or a workflow.
///
/// ```
/// # use durable::{DurableError, Failure};
/// let error: DurableError = Failure::new("CardError", "no money").fatal().into();
/// assert_eq!(error.to_string(), "CardError: no money");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// the name of the step or the child that has failed; none where it is raised
    pub step: Option<String>,
    /// the name of its type
    pub kind: String,
    /// what it says
    pub message: String,
    /// what its program has put beside it
    pub detail: Option<Value>,
    /// how often a step was tried
    pub attempts: Option<i32>,
    pub(crate) again: Again,
}

/// Whether a step that has failed may be tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Again {
    ByPolicy,
    After(Duration),
    Never,
}

impl Failure {
    /// A failure of that type.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            step: None,
            kind: kind.into(),
            message: message.into(),
            detail: None,
            attempts: None,
            again: Again::ByPolicy,
        }
    }

    /// It is not tried again, whatever retries are left.
    pub fn fatal(mut self) -> Self {
        self.again = Again::Never;
        self
    }

    /// The next attempt, if one is left, is due after that time, whatever the policy says.
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.again = Again::After(pause);
        self
    }

    /// What is kept with it.
    pub fn detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Its message, as a failure of the workflow in which nobody has caught it.
    fn passed_on(&self) -> String {
        self.step.iter().chain([&self.message]).map(String::as_str).collect::<Vec<_>>().join(": ")
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(step) = &self.step {
            write!(f, "{step}: ")?;
        }
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl From<Failure> for DurableError {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
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

    pub(crate) fn again(&self) -> Again {
        match self {
            Self::Failed(failure) => failure.again,
            _ => Again::ByPolicy,
        }
    }

    /// The name of its type, and its message: without what Display puts before it.
    fn parts(&self) -> (&str, String) {
        match self {
            Self::Db(error) => ("Db", error.to_string()),
            Self::Json(error) => ("Json", error.to_string()),
            Self::Custom(text) => ("Custom", text.clone()),
            Self::StepLocked(text) => ("StepLocked", text.clone()),
            Self::Timeout(text) => ("TimedOut", text.clone()),
            Self::Paused(text) => ("Paused", text.clone()),
            Self::Cancelled(text) => ("Cancelled", text.clone()),
            Self::MaxRecoveryExceeded(text) => ("MaxRecoveryExceeded", text.clone()),
            Self::Failed(failure) => (&failure.kind, failure.passed_on()),
        }
    }

    /// What `fail` records of it: its text, and its parts, which a replay is raised from. (A
    /// database has no NUL in its texts.)
    pub(crate) fn record(&self) -> (String, Value) {
        let (kind, message) = self.parts();
        let message = message.replace('\0', "\\0");
        let mut parts = json!({"type": kind, "message": message});
        if let Self::Failed(failure) = self
            && let Some(detail) = &failure.detail
        {
            parts["detail"] = detail.clone();
        }
        (format!("{kind}: {message}"), parts)
    }

    /// The failure of a step, a child or a workflow of that name, as it was recorded by this client or by another.
    /// What is recorded without its parts is taken from its text.
    pub(crate) fn recorded(step: &str, text: &str, parts: Option<&Value>, attempts: Option<i32>) -> Self {
        let part = |name: &str| parts.and_then(|parts| parts.get(name));
        let (kind, message) = match (part("type").and_then(Value::as_str), split(text)) {
            (Some(kind), _) => (kind, part("message").and_then(Value::as_str).unwrap_or_default()),
            (None, Some(("WF013", message))) => return Self::Timeout(format!("{step}: {message}")),
            (None, Some(("WF017", message))) => return Self::Cancelled(format!("{step}: {message}")),
            (None, Some(parts)) => parts,
            (None, None) if text == "workflow cancelled" => return Self::Cancelled(format!("{step}: {text}")),
            (None, None) => ("Custom", text),
        };
        let message = message.to_owned();
        match kind {
            "Custom" => Self::Custom(message),
            "TimedOut" => Self::Timeout(message),
            "Db" => Self::Db(DbErr::Custom(message)),
            "Json" => Self::Json(serde_json::Error::custom(message)),
            "MaxRecoveryExceeded" => Self::MaxRecoveryExceeded(message),
            _ => Failure {
                step: Some(step.to_owned()),
                attempts,
                detail: part("detail").cloned(),
                ..Failure::new(kind, message)
            }
            .into(),
        }
    }
}

/// The type and the message of a text like `CardError: no money`.
fn split(text: &str) -> Option<(&str, &str)> {
    let (kind, message) = text.split_once(": ")?;
    let is_name = kind.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
        && kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.'));
    is_name.then_some((kind, message))
}

/// The server's answer to a call, for a program that runs by itself.
impl From<Refused> for DurableError {
    fn from(Refused(error): Refused) -> Self {
        let Some((state, message)) = refusal(&error) else {
            return Self::Db(error);
        };
        match state.as_str() {
            "WF004" => Self::Paused(message),
            "WF005" => Self::Cancelled(message),
            "WF006" => Self::Timeout(message),
            "WF008" => Self::StepLocked(message),
            "WF009" => Self::MaxRecoveryExceeded(message),
            state if state.starts_with("WF") || state.starts_with("22") => Self::Custom(message),
            _ => Self::Db(error),
        }
    }
}

/// The SQLSTATE of a statement that the server has refused, and its message with detail and hint.
pub(crate) fn refusal(error: &DbErr) -> Option<(String, String)> {
    let error = of_driver(error)?.as_database_error()?;
    let mut message = error.message().to_owned();
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        for more in [error.detail(), error.hint()].into_iter().flatten() {
            message.push_str(". ");
            message.push_str(more.trim_end_matches('.'));
        }
    }
    Some((error.code()?.into_owned(), message))
}

fn of_driver(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Query(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Conn(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// Whether the server or the way to it has failed, not what was asked: ask again.
pub(crate) fn is_transient(error: &DbErr) -> bool {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    if let Some((state, _)) = refusal(error) {
        return state == "25006" || ["08", "40", "53", "57", "58"].iter().any(|class| state.starts_with(class));
    }
    match of_driver(error) {
        Some(Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed) => true,
        Some(_) => false,
        None => matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)),
    }
}

/// Whether a transaction has lost against another one, or its connection: it may be done again as a whole. (That its
/// function was too slow, say, is its failure.)
pub(crate) fn is_lost(error: &DurableError) -> bool {
    let DurableError::Db(error) = error else { return false };
    match refusal(error) {
        Some((state, _)) => ["08", "40", "57P"].iter().any(|class| state.starts_with(class)),
        None => is_transient(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_same_after_it_was_recorded() {
        let failures: [DurableError; 4] = [
            DurableError::custom("no: money"),
            DurableError::Timeout("too late".into()),
            Failure::new("CardError", "no").detail(json!({"code": 3})).into(),
            DurableError::Json(serde_json::Error::custom("bad")),
        ];
        for failure in failures {
            let (text, parts) = failure.record();
            let again = DurableError::recorded("charge", &text, Some(&parts), Some(2));
            let by_text = DurableError::recorded("charge", &text, None, None);
            if let DurableError::Failed(raised) = &failure {
                let DurableError::Failed(again) = again else { panic!("{again:?}") };
                let wanted = Failure { step: Some("charge".into()), attempts: Some(2), ..*raised.clone() };
                assert_eq!(*again, wanted);
                assert_eq!(again.to_string(), "charge: CardError: no");
                assert_eq!(DurableError::Failed(again).record().0, "CardError: charge: no");
            } else {
                assert_eq!(again.to_string(), failure.to_string());
                assert_eq!(by_text.to_string(), failure.to_string());
            }
        }
    }

    #[test]
    fn waits_that_are_over_are_no_failures() {
        assert!(DurableError::recorded("w", "WF013: no signal", None, None).is_timeout());
        assert!(DurableError::recorded("w", "WF017: asked to end", None, None).is_cancelled());
        assert!(DurableError::recorded("w", "workflow cancelled", None, None).is_cancelled());
        let DurableError::Custom(text) = DurableError::recorded("w", "free text", None, None) else { panic!() };
        assert_eq!(text, "free text");
    }
}
