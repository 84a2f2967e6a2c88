//! Looking: what `Ctx::list` and `Ctx::count` take and answer.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset};
use sea_orm::{DatabaseConnection, Order, QueryResult, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::DurableError;
use crate::call::{column, rows, value};

/// The status of a workflow or a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskStatus {
    /// nobody drives it
    Pending,
    /// somebody does
    Running,
    /// it has an output
    Completed,
    /// it has an error
    Failed,
    /// it goes on when it is resumed
    Paused,
    /// it never goes on
    Cancelled,
}

const STATUSES: [(TaskStatus, &str); 6] = [
    (TaskStatus::Pending, "PENDING"),
    (TaskStatus::Running, "RUNNING"),
    (TaskStatus::Completed, "COMPLETED"),
    (TaskStatus::Failed, "FAILED"),
    (TaskStatus::Paused, "PAUSED"),
    (TaskStatus::Cancelled, "CANCELLED"),
];

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, label) = STATUSES.iter().find(|(status, _)| status == self).expect("each has a label");
        f.write_str(label)
    }
}

impl FromStr for TaskStatus {
    type Err = DurableError;

    fn from_str(label: &str) -> Result<Self, DurableError> {
        let found = STATUSES.iter().find(|(_, l)| *l == label);
        found.map(|(status, _)| *status).ok_or_else(|| DurableError::custom(format!("unknown status {label}")))
    }
}

/// Sort order for task listing.
#[derive(Debug, Clone)]
pub enum TaskSort {
    /// by the time at which it was created
    CreatedAt(Order),
    /// by the time at which it was started
    StartedAt(Order),
    /// by the time at which it ended
    CompletedAt(Order),
    /// by name
    Name(Order),
    /// by status
    Status(Order),
}

impl TaskSort {
    /// As `list` of the server takes it.
    fn arguments(&self) -> (&'static str, bool) {
        let (sort, order) = match self {
            Self::CreatedAt(order) => ("created_at", order),
            Self::StartedAt(order) => ("started_at", order),
            Self::CompletedAt(order) => ("completed_at", order),
            Self::Name(order) => ("name", order),
            Self::Status(order) => ("status", order),
        };
        (sort, matches!(order, Order::Desc))
    }
}

/// Builder for filtering, sorting, and paginating task queries. Without a kind it asks for workflows.
///
/// ```no_run
/// # use durable::{Ctx, TaskQuery, TaskSort, TaskStatus};
/// # async fn f(db: sea_orm::DatabaseConnection) -> Result<(), durable::DurableError> {
/// let query = TaskQuery::default()
///     .status(TaskStatus::Running)
///     .kind("WORKFLOW")
///     .root_only(true)
///     .sort(TaskSort::CreatedAt(sea_orm::Order::Desc))
///     .limit(20);
/// let tasks = Ctx::list(&db, query).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct TaskQuery {
    /// only of this status
    pub status: Option<TaskStatus>,
    /// only of this kind: WORKFLOW, STEP, TRANSACTION, WAIT
    pub kind: Option<String>,
    /// only what stands directly below it
    pub parent_id: Option<Uuid>,
    /// only what stands below nothing
    pub root_only: bool,
    /// only of this name
    pub name: Option<String>,
    /// only in this queue
    pub queue_name: Option<String>,
    /// in this order
    pub sort: TaskSort,
    /// so many at most
    pub limit: Option<u64>,
    /// not the first so many
    pub offset: Option<u64>,
}

impl Default for TaskQuery {
    fn default() -> Self {
        Self {
            status: None,
            kind: None,
            parent_id: None,
            root_only: false,
            name: None,
            queue_name: None,
            sort: TaskSort::CreatedAt(Order::Desc),
            limit: None,
            offset: None,
        }
    }
}

impl TaskQuery {
    /// Filter by status.
    pub fn status(mut self, status: TaskStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Filter by kind ("WORKFLOW", "STEP", "TRANSACTION", "WAIT").
    pub fn kind(mut self, kind: &str) -> Self {
        self.kind = Some(kind.to_owned());
        self
    }

    /// Filter by parent: direct children only.
    pub fn parent_id(mut self, parent_id: Uuid) -> Self {
        self.parent_id = Some(parent_id);
        self
    }

    /// Only tasks without a parent.
    pub fn root_only(mut self, root_only: bool) -> Self {
        self.root_only = root_only;
        self
    }

    /// Filter by name.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Filter by queue.
    pub fn queue_name(mut self, queue: &str) -> Self {
        self.queue_name = Some(queue.to_owned());
        self
    }

    /// Set the order.
    pub fn sort(mut self, sort: TaskSort) -> Self {
        self.sort = sort;
        self
    }

    /// At most so many.
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Skip the first so many.
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The filters, as the first arguments of `list` and `count`.
    fn filters(&self) -> Vec<Value> {
        vec![
            self.status.map(|status| status.to_string()).into(),
            self.kind.clone().into(),
            self.parent_id.into(),
            self.root_only.into(),
            self.name.clone().into(),
            self.queue_name.clone().into(),
        ]
    }
}

const FILTERS: &str = "$1::text::durable.task_status, $2::text::durable.task_kind, $3, $4, $5, $6";

/// An argument of type int.
fn int(n: Option<u64>, default: i32) -> Value {
    n.map_or(default, |n| i32::try_from(n).unwrap_or(i32::MAX)).into()
}

/// Summary of a task, as `Ctx::list` returns it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TaskSummary {
    pub id: Uuid,
    pub parent_id: Option<Uuid>,
    pub name: String,
    pub handler: Option<String>,
    pub status: TaskStatus,
    pub kind: String,
    pub input: Option<serde_json::Value>,
    pub output: Option<serde_json::Value>,
    pub error: Option<String>,
    pub queue_name: Option<String>,
    pub created_at: DateTime<FixedOffset>,
    pub started_at: Option<DateTime<FixedOffset>>,
    pub completed_at: Option<DateTime<FixedOffset>>,
}

fn summary(row: &QueryResult) -> Result<TaskSummary, DurableError> {
    Ok(TaskSummary {
        id: column(row, 0)?,
        parent_id: column(row, 1)?,
        name: column(row, 2)?,
        handler: column(row, 3)?,
        status: column::<String>(row, 4)?.parse()?,
        kind: column(row, 5)?,
        input: column(row, 6)?,
        output: column(row, 7)?,
        error: column(row, 8)?,
        queue_name: column(row, 9)?,
        created_at: column(row, 10)?,
        started_at: column(row, 11)?,
        completed_at: column(row, 12)?,
    })
}

pub(crate) async fn list(db: &DatabaseConnection, query: &TaskQuery) -> Result<Vec<TaskSummary>, DurableError> {
    let (sort, descending) = query.sort.arguments();
    let mut arguments = query.filters();
    arguments.extend([sort.into(), descending.into(), int(query.limit, i32::MAX), int(query.offset, 0)]);
    let sql = format!(
        "SELECT id, parent_id, name, handler, status::text, kind::text, input, output, error, queue_name, \
         created_at, started_at, completed_at \
         FROM durable.list({FILTERS}, sort => $7, descending => $8, max_rows => $9, skip => $10)"
    );
    rows(db, &sql, arguments).await?.iter().map(summary).collect()
}

pub(crate) async fn count(db: &DatabaseConnection, query: &TaskQuery) -> Result<u64, DurableError> {
    let count: i64 = value(db, &format!("SELECT durable.count({FILTERS})"), query.filters()).await?;
    Ok(count.unsigned_abs())
}
