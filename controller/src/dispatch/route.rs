//! Ways to a host. Now there is one, its agent's session.

use sysop_common::ids::{HostId, OrderId};
use sysop_common::order::SignedOrder;

use crate::link::Registry;
use crate::link::ports::BoxFuture;

/// The host cannot be reached now; it did not get the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host is not connected")]
pub struct Unreachable;

/// A way to hosts.
pub trait Route: Send + Sync {
    /// Whether the host can be reached now.
    fn reaches(&self, host: HostId) -> bool;

    /// Hands an order over. After `Ok` the host may have it.
    fn send(&self, host: HostId, order: SignedOrder) -> BoxFuture<'_, Result<(), Unreachable>>;

    /// Asks the host to withdraw an order that has not started.
    fn cancel(&self, host: HostId, order: OrderId) -> BoxFuture<'_, Result<(), Unreachable>>;
}

impl Route for Registry {
    fn reaches(&self, host: HostId) -> bool {
        self.is_connected(host)
    }

    fn send(&self, host: HostId, order: SignedOrder) -> BoxFuture<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            self.send_order(host, order).await.map_err(|_| Unreachable)?;
            Ok(())
        })
    }

    fn cancel(&self, host: HostId, order: OrderId) -> BoxFuture<'_, Result<(), Unreachable>> {
        Box::pin(async move { Registry::cancel(self, host, order).await.map_err(|_| Unreachable) })
    }
}
