//! How often what failed is tried again: a step by the server's policy, a write to the database by the client's.

use std::future::Future;
use std::time::Duration;

use crate::DurableError;

const MAX_CHECKPOINT_RETRIES: u32 = 3;
const CHECKPOINT_RETRY_BASE: Duration = Duration::from_millis(100);

/// Policy for retrying a step on failure.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// so many attempts after the first
    pub max_retries: u32,
    /// the pause before the first of them
    pub initial_backoff: Duration,
    /// each further pause is so many times the one before
    pub backoff_multiplier: f64,
}

impl RetryPolicy {
    /// No retries: the first error is the outcome.
    pub fn none() -> Self {
        Self::fixed(0, Duration::ZERO)
    }

    /// The pause doubles with each retry.
    pub fn exponential(max_retries: u32, initial_backoff: Duration) -> Self {
        Self { max_retries, initial_backoff, backoff_multiplier: 2.0 }
    }

    /// The same pause before each retry.
    pub fn fixed(max_retries: u32, backoff: Duration) -> Self {
        Self { max_retries, initial_backoff: backoff, backoff_multiplier: 1.0 }
    }
}

/// Makes a call that may be repeated, and repeats it while the database cannot be
/// reached, after 0.1, 0.2 and 0.4 s. Returns the first error if all fail. What the
/// server has refused is an answer, and not asked again.
pub(crate) async fn retry_db_write<T, F, Fut>(mut f: F) -> Result<T, DurableError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, DurableError>>,
{
    let first = match f().await {
        Err(error @ DurableError::Db(_)) => error,
        answer => return answer,
    };
    for i in 0..MAX_CHECKPOINT_RETRIES {
        tokio::time::sleep(CHECKPOINT_RETRY_BASE * 2u32.pow(i)).await;
        match f().await {
            Err(DurableError::Db(_)) => (),
            answer => {
                tracing::warn!(retry = i + 1, "checkpoint write answered on retry");
                return answer;
            }
        }
    }
    Err(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn broken(n: u32) -> DurableError {
        DurableError::Db(sea_orm::DbErr::Custom(format!("error-{n}")))
    }

    #[tokio::test]
    async fn retry_db_write_succeeds_first_try() {
        let calls = AtomicU32::new(0);
        let result = retry_db_write(|| async {
            calls.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        assert!(result.await.is_ok());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn retry_db_write_succeeds_after_transient_failure() {
        let calls = AtomicU32::new(0);
        let result = retry_db_write(|| async {
            match calls.fetch_add(1, Ordering::SeqCst) {
                n if n < 2 => Err(broken(n)),
                _ => Ok(()),
            }
        });
        assert!(result.await.is_ok());
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn retry_db_write_exhausts_retries() {
        let calls = AtomicU32::new(0);
        let result = retry_db_write(|| async { Err::<(), _>(broken(calls.fetch_add(1, Ordering::SeqCst))) });
        assert!(result.await.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 1 + MAX_CHECKPOINT_RETRIES);
    }

    #[tokio::test]
    async fn retry_db_write_returns_original_error() {
        let calls = AtomicU32::new(0);
        let result = retry_db_write(|| async { Err::<(), _>(broken(calls.fetch_add(1, Ordering::SeqCst))) });
        let error = result.await.unwrap_err().to_string();
        assert!(error.contains("error-0"), "expected the first error, got: {error}");
    }

    #[tokio::test]
    async fn what_was_refused_is_not_asked_again() {
        let calls = AtomicU32::new(0);
        let result = retry_db_write(|| async {
            calls.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(DurableError::Cancelled("c".into()))
        });
        assert!(result.await.unwrap_err().is_cancelled());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}
