//! The audit chain: every change and decision as a record that holds the hash of the one before.
//!
//! A record is written in the transaction of the change that it tells of, so that neither exists
//! without the other. Heads are signed with the dispatch key, whose secret is not in the database;
//! every order carries the head of its moment, and hosts keep it. So what is changed, removed,
//! inserted or cut off afterwards shows: in the hashes, in the signed heads, or in the orders.

mod chain;
mod heads;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use sysop_common::bytes::Digest;
use sysop_common::ids::ControllerId;

use crate::clock::Clock;
use crate::store::audit as rows;
use crate::store::audit::AuditRow;
use crate::store::{Conn, Db, StoreError};
use crate::wake::Signal;

pub use heads::{run, sign_head};
pub use verify::{Broken, ChainReport, Report, VerifyError, verify, verify_open};

/// Most bytes of a record's details.
pub const MAX_DETAIL: usize = 64 * 1024;
/// A head is signed after so many records, at the latest.
const SIGN_EVERY: u64 = 1_000;

/// Writes the chain of this controller. Cheap to clone: all clones are one chain.
#[derive(Debug, Clone)]
pub struct Audit {
    controller: ControllerId,
    clock: Clock,
    unsigned: Arc<AtomicU64>,
    sign: Signal,
}

/// What is to be recorded.
#[derive(Debug, Clone)]
pub struct Record {
    /// Who: see the functions of this type.
    pub actor: String,
    /// What: noun, dot, verb.
    pub action: &'static str,
    /// On what: noun, colon, id.
    pub object: String,
    /// Inputs and outcome.
    pub detail: Value,
}

impl Record {
    /// By a person or a token: `who` is the principal, such as `user:ann` or `token:ci`.
    pub fn new(
        who: impl Into<String>,
        action: &'static str,
        object: impl Into<String>,
        detail: Value,
    ) -> Self {
        Self { actor: who.into(), action, object: object.into(), detail }
    }

    /// By the policy, that is by the decision step itself.
    pub fn policy(action: &'static str, object: impl Into<String>, detail: Value) -> Self {
        Self::new("policy", action, object, detail)
    }

    /// By the controller's own running: sending, expiring, starting.
    pub fn system(action: &'static str, object: impl Into<String>, detail: Value) -> Self {
        Self::new("system", action, object, detail)
    }
}

impl Audit {
    /// The chain of `controller`.
    #[must_use]
    pub fn new(controller: ControllerId, clock: Clock) -> Self {
        Self { controller, clock, unsigned: Arc::default(), sign: Signal::default() }
    }

    /// Whose chain it is.
    #[must_use]
    pub const fn controller(&self) -> ControllerId {
        self.controller
    }

    /// Appends a record within the caller's transaction, and returns the new head.
    ///
    /// # Errors
    /// When it cannot be written. The caller's change must then not be committed either.
    pub async fn append(&self, conn: &mut Conn, record: &Record) -> Result<Digest, StoreError> {
        let (last, previous) = rows::head(&mut *conn, self.controller).await?.unwrap_or((0, chain::GENESIS));
        let mut detail = record.detail.to_string();
        if detail.len() > MAX_DETAIL {
            detail = serde_json::json!({ "cut": true, "bytes": detail.len() }).to_string();
        }
        let mut row = AuditRow {
            controller: self.controller,
            seq: last + 1,
            at: self.clock.now(),
            actor: record.actor.clone(),
            action: record.action.to_owned(),
            object: record.object.clone(),
            detail,
            previous,
            hash: chain::GENESIS,
        };
        row.hash = chain::hash(&row);
        rows::insert(conn, &row).await?;
        if self.unsigned.fetch_add(1, Ordering::Relaxed) + 1 >= SIGN_EVERY {
            self.sign.wake();
        }
        Ok(row.hash)
    }

    /// Appends a record of something that changes nothing in the database.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn record(&self, db: &Db, record: &Record) -> Result<Digest, StoreError> {
        let mut tx = db.begin().await?;
        let head = self.append(&mut tx, record).await?;
        tx.commit().await?;
        Ok(head)
    }

    /// The head of the chain, for orders.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn head(&self, conn: &mut Conn) -> Result<Digest, StoreError> {
        Ok(rows::head(conn, self.controller).await?.map_or(chain::GENESIS, |(_, hash)| hash))
    }
}

#[cfg(test)]
mod tests;
