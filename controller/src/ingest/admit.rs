//! From a certificate to a host: who may have a session, and what it starts with.

use std::collections::VecDeque;
use std::sync::Arc;

use sysop_common::bytes::Digest;
use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::sample::codec::Decoder;
use sysop_common::time::MINUTE_MS;
use sysop_common::wire::Hello;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use super::ack::Acks;
use super::dedupe::{Numbers, Said};
use super::host::HostCell;
use super::intake::{SessionIntake, skew};
use super::{Ingest, Shared};
use crate::link::ports::{Admission, BoxFuture, Gate, Opened, Peer, Refused};
use crate::store::certificates::{self, Standing};
use crate::store::samples::Boot;
use crate::store::{StoreError, hosts, leases};

/// A host's clock within this of ours confirms ours.
const AGREES_MS: i64 = 5 * MINUTE_MS;

fn unavailable(host: HostId, error: &StoreError) -> Refused {
    tracing::error!(%host, %error, "a session cannot be opened");
    Refused("the controller's database is not available at the moment".into())
}

impl Gate for Ingest {
    fn admit<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<Admission, Refused>> {
        Box::pin(async move {
            let now = self.shared.clock.now();
            let standing = certificates::standing(&self.shared.db, peer.fingerprint, peer.host, now).await;
            match standing.map_err(|e| unavailable(peer.host, &e))? {
                Standing::Good { not_after, owner } => {
                    Ok(Admission { not_after, leased: owner == Some(self.shared.options.controller) })
                }
                Standing::Unknown => {
                    Err(Refused("this certificate was not issued by this controller".into()))
                }
                Standing::Revoked => Err(Refused("this certificate is revoked; enrol the host again".into())),
                Standing::Expired => {
                    Err(Refused("this certificate has expired; enrol the host again".into()))
                }
            }
        })
    }

    fn open<'a>(
        &'a self,
        peer: &'a Peer,
        hello: &'a Hello,
        admission: Admission,
    ) -> BoxFuture<'a, Result<Opened, Refused>> {
        Box::pin(async move {
            let shared = &self.shared;
            let cell = cell(shared, peer.host).await.map_err(|e| unavailable(peer.host, &e))?;
            if !admission.leased
                && let Err(error) = leases::claim(&shared.db, peer.host, shared.options.controller).await
            {
                // Without a lease samples still come in; orders are what needs it.
                tracing::warn!(host = %peer.host, %error, "the host's lease could not be claimed");
            }
            let now = shared.clock.now();
            if !peer.address.ip().is_loopback() && now.since(hello.clock).saturating_abs() < AGREES_MS {
                let confirmed = shared.store.confirm_clock(now).await;
                confirmed.map_err(|e| unavailable(peer.host, &e))?;
            }
            let boot = Boot::from_id(&hello.boot_id);
            let signal = Arc::new(Notify::new());
            let (session, stored) = {
                let mut state = cell.lock();
                state.session += 1;
                if let Some(before) = state.signal.replace(signal.clone()) {
                    before.notify_one();
                }
                (state.session, stored(&state.numbers, hello))
            };
            let intake = SessionIntake {
                shared: shared.clone(),
                host: peer.host,
                cell,
                session,
                signal,
                said: Said { epoch: hello.epoch, previous: hello.previous },
                boot,
                skew: skew(now, hello.clock),
                decoder: Decoder::sharing(shared.texts.clone()),
                chain: None,
                schemas: VecDeque::new(),
                acks: Acks::default(),
                pending: VecDeque::new(),
                // The first one need not wait.
                inventory_at: Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now),
            };
            Ok(Opened { intake: Box::new(intake), stored })
        })
    }

    fn revoked(&self) -> BoxFuture<'_, Result<Vec<Digest>, Refused>> {
        Box::pin(async move {
            let now = self.shared.clock.now();
            certificates::revoked(&self.shared.db, now).await.map_err(|e| Refused(e.to_string()))
        })
    }

    fn hosts(&self) -> BoxFuture<'_, u64> {
        Box::pin(async move { hosts::count(&self.shared.db).await.unwrap_or(0) })
    }
}

/// The host's cell; its numbers come from the store at its first session.
async fn cell(shared: &Shared, host: HostId) -> Result<Arc<HostCell>, StoreError> {
    if let Some(cell) = shared.hosts.get(host) {
        return Ok(cell);
    }
    let stored = shared.store.stored_epochs(host).await?;
    let numbers = Numbers::new(host, &stored, i64::from(shared.options.interval_ms));
    Ok(shared.hosts.put(host, HostCell::new(numbers, shared.clock.now())))
}

/// For each epoch that the hello names, the last number that is committed.
fn stored(numbers: &Numbers, hello: &Hello) -> Vec<(Epoch, Seq)> {
    let previous = hello.previous.map(|previous| previous.epoch);
    [Some(hello.epoch), previous]
        .into_iter()
        .flatten()
        .map(|epoch| (epoch, numbers.committed(epoch)))
        .filter(|(_, seq)| seq.0 > 0)
        .collect()
}
