//! What the link reports: who came and went, and clones.

use super::Ingest;
use crate::link::ports::{Events, LinkEvent, Peer, Transport};
use crate::store::host_events;
use crate::store::presence::{Carrier, Connected};
use sysop_common::time::UnixMs;

fn connected(peer: &Peer, since: UnixMs) -> Connected {
    let carrier = match peer.transport {
        Transport::Quic => Carrier::Quic,
        Transport::Tcp => Carrier::Tcp,
    };
    Connected { carrier, address: peer.address, since }
}

impl Events for Ingest {
    fn happened(&self, event: LinkEvent) {
        let shared = self.shared.clone();
        match event {
            LinkEvent::Opened { peer, since } => {
                shared.presence.came(peer.host, connected(&peer, since));
                tracing::info!(host = %peer.host, transport = peer.transport.word(), address = %peer.address, "host connected");
                shared.wakes.hosts.wake();
                shared.wakes.dispatch.wake();
            }
            LinkEvent::Closed { peer, since, reason, in_order } => {
                let left = in_order.then(|| shared.clock.now());
                shared.presence.went(peer.host, connected(&peer, since), left);
                tracing::info!(host = %peer.host, transport = peer.transport.word(), reason, "host disconnected");
                shared.wakes.hosts.wake();
            }
            LinkEvent::Clone { peer } => {
                tracing::warn!(host = %peer.host, address = %peer.address, "a second agent uses the certificate of a connected host");
                tokio::spawn(async move {
                    let detail = format!("second live agent from {}", peer.address);
                    let now = shared.clock.now();
                    let stored = async {
                        let mut tx = shared.db.begin().await?;
                        host_events::insert(&mut tx, peer.host, host_events::CLONE, &detail, now).await?;
                        tx.commit().await
                    };
                    if let Err(error) = stored.await {
                        tracing::error!(host = %peer.host, %error, "the report of a clone cannot be stored");
                    }
                    shared.wakes.samples.wake();
                });
            }
        }
    }
}
