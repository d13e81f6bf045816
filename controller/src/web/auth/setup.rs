//! First start: nobody can sign in yet, and only who reads the console may make the first account.

use std::sync::atomic::{AtomicBool, Ordering};

use subtle::ConstantTimeEq as _;
use sysop_common::ids::sha256;
use sysop_common::time::UnixMs;

use super::password::{Hasher, PasswordError};
use super::secret::{self, NoRandom};
use crate::audit::{Audit, Record};
use crate::config::InitSecret;
use crate::store::users::{self, NewUser, Role};
use crate::store::{Db, StoreError};

/// Name of the account that `APP_INIT_SECRET` makes.
pub const INIT_NAME: &str = "admin";

/// Whether the first account is still to be made, and the hash of the code that allows it.
///
/// Once closed it never opens again in this process, whatever the store says later.
#[derive(Debug)]
pub struct Setup {
    open: AtomicBool,
    code: [u8; 32],
}

/// The first account could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The store's error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password of the settings could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No random bytes for the code.
    #[error(transparent)]
    Random(#[from] NoRandom),
}

/// What start found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstRun {
    /// There are users; nothing to do.
    Done,
    /// The setup page is open with this code: print it on the console, nowhere else.
    Code(String),
    /// The account [`INIT_NAME`] was made from the settings; its password must be changed.
    MadeFromSettings,
}

impl Setup {
    /// Looks whether there is a user; makes one from the settings or a code.
    ///
    /// # Errors
    /// The store's, or when there are no random bytes.
    pub async fn begin(
        db: &Db,
        audit: &Audit,
        hasher: &Hasher,
        secret: Option<&InitSecret>,
        now: UnixMs,
    ) -> Result<(Self, FirstRun), SetupError> {
        if users::any(db).await? {
            return Ok((Self::closed(), FirstRun::Done));
        }
        if let Some(secret) = secret {
            let hash = hasher.hash(secret.expose()).await?;
            let admin =
                NewUser { name: INIT_NAME, password_hash: &hash, role: Role::Admin, must_change: true };
            let mut tx = db.begin().await?;
            if users::create_first(&mut tx, admin, now).await?.is_some() {
                let detail = serde_json::json!({ "role": "admin", "by": "the settings" });
                audit
                    .append(&mut tx, &Record::system("user.create", format!("user:{INIT_NAME}"), detail))
                    .await?;
            }
            tx.commit().await?;
            return Ok((Self::closed(), FirstRun::MadeFromSettings));
        }
        let code = secret::code()?;
        let setup = Self { open: AtomicBool::new(true), code: sha256(secret::normal_code(&code).as_bytes()) };
        Ok((setup, FirstRun::Code(code)))
    }

    /// A setup that is over.
    #[must_use]
    pub const fn closed() -> Self {
        Self { open: AtomicBool::new(false), code: [0; 32] }
    }

    /// Whether the first account may still be made. Another process may have made it meanwhile.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn is_open(&self, db: &Db) -> Result<bool, StoreError> {
        if self.open.load(Ordering::Acquire) && users::any(db).await? {
            self.close();
        }
        Ok(self.open.load(Ordering::Acquire))
    }

    /// Ends the setup for ever.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// Whether `typed` is the code.
    #[must_use]
    pub fn fits(&self, typed: &str) -> bool {
        let typed = sha256(secret::normal_code(typed).as_bytes());
        self.open.load(Ordering::Acquire) && bool::from(typed.ct_eq(&self.code))
    }
}

#[cfg(test)]
mod tests {
    use sysop_common::ids::ControllerId;

    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn the_code_opens_until_there_is_a_user_and_never_again() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_control(dir.path()).await.unwrap();
        let hasher = Hasher::default();
        let audit = Audit::new(ControllerId(uuid::Uuid::nil()), Clock::manual(UnixMs(1)));
        let (setup, first) = Setup::begin(&db, &audit, &hasher, None, UnixMs(1)).await.unwrap();
        let FirstRun::Code(code) = first else { panic!("{first:?}") };
        assert!(setup.is_open(&db).await.unwrap() && setup.fits(&code.to_lowercase()) && !setup.fits(""));
        let new = NewUser { name: "ann", password_hash: "x", role: Role::Admin, must_change: false };
        let mut tx = db.begin().await.unwrap();
        users::create_first(&mut tx, new, UnixMs(2)).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        assert!(!setup.is_open(&db).await.unwrap() && !setup.fits(&code));
        let (again, first) = Setup::begin(&db, &audit, &hasher, None, UnixMs(3)).await.unwrap();
        assert_eq!(first, FirstRun::Done);
        assert!(!again.is_open(&db).await.unwrap() && !again.fits(&code));
    }
}
