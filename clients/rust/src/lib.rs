//! Durable workflows on `PostgreSQL`: programs that go on where they stopped.
//!
//! The state is kept, and each call decided, by the extension `durable` in the server.
//! This crate counts the positions of a program, calls, and waits.
//!
//! ```no_run
//! use durable::{Ctx, DurableError};
//!
//! #[durable::workflow]
//! async fn order(ctx: Ctx, item: String) -> Result<(), DurableError> {
//!     let shelf: u32 = ctx.step("reserve", || async { Ok(7) }).await?;
//!     ctx.complete(&format!("{item} from shelf {shelf}")).await
//! }
//!
//! # async fn f() -> Result<(), DurableError> {
//! let (db, _recovered) = durable::init("postgres://localhost/shop").await?;
//! let ctx = durable_order(&db, "order-17", "book".to_owned()).await?.into_ctx();
//! order(ctx, "book".to_owned()).await?;
//! # Ok(()) }
//! ```

mod call;
pub mod ctx;
mod drive;
pub mod error;
pub mod executor;
mod handle;
mod pooler;
mod query;
mod retry;
mod step;
mod wait;
pub mod worker;

pub use ctx::{Ctx, StartResult};
pub use durable_macros::{step, workflow};
pub use error::{DurableError, Failure};
pub use executor::{
    Executor, HeartbeatConfig, RecoveredTask, ResumeFn, WorkflowRegistration, executor_id, find_workflow, init,
    init_db, init_with_config, resume_workflow,
};
pub use handle::Handle;
pub use query::{TaskQuery, TaskSort, TaskStatus, TaskSummary};
pub use retry::RetryPolicy;
pub use sea_orm::DatabaseTransaction;
pub use step::{Step, StepOptions};
pub use wait::{Place, Signal, Wait};
pub use worker::Worker;

// what the macros name
pub use inventory;
pub use sea_orm;
pub use serde_json;
