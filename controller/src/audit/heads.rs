//! Signing the chain's head from time to time, with a key that the database does not hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sysop_common::order::DispatchKey;
use tokio::sync::watch;

use super::{Audit, chain, rows};
use crate::store::{Db, StoreError};

/// A head is signed this often while records come.
const PERIOD: Duration = Duration::from_secs(60);

/// Signs heads until `shutdown` turns true, and once more then.
pub async fn run(audit: Audit, db: Db, key: Arc<DispatchKey>, mut shutdown: watch::Receiver<bool>) {
    let mut listener = audit.sign.listen();
    loop {
        if let Err(error) = sign_head(&audit, &db, &key).await {
            tracing::error!(%error, "the head of the audit chain could not be signed");
        }
        if *shutdown.borrow() {
            return;
        }
        tokio::select! {
            () = listener.wait(PERIOD) => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}

/// Signs the head, unless it is signed already.
///
/// # Errors
/// Only the store's.
pub async fn sign_head(audit: &Audit, db: &Db, key: &DispatchKey) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let Some((seq, hash)) = rows::head(&mut tx, audit.controller).await? else { return Ok(()) };
    let mut head = rows::AuditHead {
        controller: audit.controller,
        seq,
        at: audit.clock.now(),
        hash,
        signature: Vec::new(),
        certificate: key.certificate().to_vec(),
    };
    head.signature = key.sign_bytes(chain::HEAD_DOMAIN, &chain::head_bytes(&head));
    rows::insert_head(&mut tx, &head).await?;
    tx.commit().await?;
    audit.unsigned.store(0, Ordering::Relaxed);
    Ok(())
}
