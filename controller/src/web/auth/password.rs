//! Hashing of passwords: Argon2id with 19 MiB and two passes, at most two at a time, off the
//! request's thread.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Hashes at a time: a flood of sign-ins must not take every core.
const AT_A_TIME: usize = 2;
/// Requests that wait for their turn; more are turned away at once.
const WAITING: usize = 32;
/// A hash of no password, made with the same parameters: an unknown user costs the same time.
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c3lzb3AtZHVtbXktc2FsdA$MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA";

/// A password could not be hashed or checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many sign-ins at once")]
    Busy,
    /// The hash function failed.
    #[error("password hashing failed: {0}")]
    Failed(String),
}

/// The place where passwords are hashed.
#[derive(Debug, Clone)]
pub struct Hasher {
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            queue: Arc::new(Semaphore::new(AT_A_TIME + WAITING)),
        }
    }
}

impl Hasher {
    /// The hash of `password`, with a new salt.
    ///
    /// # Errors
    /// When too many wait or the function fails.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let password = Zeroizing::new(password.to_owned());
        self.run(move || {
            Argon2::default()
                .hash_password(password.as_bytes())
                .map(|hash| hash.to_string())
                .map_err(|e| PasswordError::Failed(e.to_string()))
        })
        .await
    }

    /// Whether `password` belongs to `hash`; without a hash the answer is no, after the same time.
    ///
    /// # Errors
    /// When too many wait or the stored hash is not readable.
    pub async fn verify(&self, password: &str, hash: Option<String>) -> Result<bool, PasswordError> {
        let password = Zeroizing::new(password.to_owned());
        self.run(move || {
            let text = hash.as_deref().unwrap_or(DUMMY);
            let parsed = PasswordHash::new(text).map_err(|e| PasswordError::Failed(e.to_string()))?;
            let fits = Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
            Ok(fits && hash.is_some())
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        // The permits go along: a request that is dropped does not let the next hash start early.
        let done = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        });
        done.await.map_err(|e| PasswordError::Failed(e.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_opens_its_hash_only_and_the_cost_is_as_promised() {
        let hasher = Hasher::default();
        let hash = hasher.hash("correct horse battery").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(PasswordHash::new(DUMMY).is_ok());
        assert!(hasher.verify("correct horse battery", Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify("wrong horse battery", Some(hash)).await.unwrap());
        assert!(!hasher.verify("anything", None).await.unwrap());
        assert!(hasher.verify("x", Some("not a hash".into())).await.is_err());
    }

    #[tokio::test]
    async fn a_flood_is_turned_away_instead_of_queued() {
        let hasher = Hasher::default();
        let held = hasher.queue.acquire_many(34).await.unwrap();
        assert_eq!(hasher.hash("x").await, Err(PasswordError::Busy));
        drop(held);
        assert!(hasher.hash("x").await.is_ok());
    }
}
