//! Takes hosts in and renews their certificates, on the record.

use std::net::SocketAddr;

use serde_json::json;
use sysop_common::bytes::Bytes;
use sysop_common::wire::{EnrolAnswer, EnrolRequest, RenewRequest, Renewed};

use crate::audit::{Audit, Record};
use crate::clock::Clock;
use crate::identity::{EnrolError, Identity, IdentityError};
use crate::link::ports::{BoxFuture, Enroller, Peer, Refused};
use crate::store::{Db, StoreError};
use crate::wake::Wakes;

/// [`Identity`] as the link's port, with a record of each host that came and each certificate.
pub(super) struct Audited {
    identity: Identity,
    audit: Audit,
    db: Db,
    wakes: Wakes,
    clock: Clock,
}

impl Audited {
    pub(super) fn new(identity: &Identity, audit: &Audit, db: &Db, wakes: &Wakes, clock: &Clock) -> Self {
        Self {
            identity: identity.clone(),
            audit: audit.clone(),
            db: db.clone(),
            wakes: wakes.clone(),
            clock: clock.clone(),
        }
    }

    async fn note(&self, action: &'static str, object: String, detail: serde_json::Value) {
        let record = Record::system(action, object, detail);
        if let Err(error) = self.audit.record(&self.db, &record).await {
            tracing::error!(%error, action, "the record could not be written");
        }
    }
}

impl Enroller for Audited {
    fn enrol(&self, request: EnrolRequest, from: SocketAddr) -> BoxFuture<'_, EnrolAnswer> {
        Box::pin(async move {
            match self.identity.enrol(&request, self.clock.now()).await {
                Ok(enrolled) => {
                    let detail = json!({ "name": request.hostname, "from": from.ip() });
                    self.note("host.enrol", format!("host:{}", enrolled.host), detail).await;
                    tracing::info!(host = %enrolled.host, %from, "host enrolled");
                    self.wakes.hosts.wake();
                    // A host that comes back by a token leaves its old certificates behind.
                    self.wakes.revoked.wake();
                    EnrolAnswer::Enrolled(enrolled)
                }
                Err(error) => {
                    if let EnrolError::Failed(source) = &error {
                        tracing::error!(%from, error = %source, "a host could not be taken in");
                    } else {
                        tracing::warn!(%from, %error, "a host was not taken in");
                    }
                    EnrolAnswer::Refused(error.to_string())
                }
            }
        })
    }

    fn renew<'a>(&'a self, peer: &'a Peer, request: RenewRequest) -> BoxFuture<'a, Result<Renewed, Refused>> {
        Box::pin(async move {
            let now = self.clock.now();
            let renewed = self.identity.renew(peer.host, peer.fingerprint, &request.csr.0, now).await;
            let certificate = renewed.map_err(|error| {
                tracing::warn!(host = %peer.host, %error, "a certificate was not renewed");
                Refused(match error {
                    IdentityError::Store(StoreError::Conflict(_)) | IdentityError::BadRequest => {
                        "the certificate cannot be renewed; enrol the host again".into()
                    }
                    IdentityError::Store(StoreError::TooSoon(why)) => why.into(),
                    _ => "the certificate could not be renewed now; ask again later".into(),
                })
            })?;
            let detail = json!({ "from": peer.address.ip() });
            self.note("host.renew", format!("host:{}", peer.host), detail).await;
            Ok(Renewed { certificate: Bytes(certificate) })
        })
    }
}
