//! The engine of probes, which is the agent's: one way to ask, whoever asks. The one file of this step that
//! uses the agent crate; and where this controller may ask.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use sysop_agent::probe::Gate;
use sysop_common::network::Network;
use sysop_common::probe::{Check, Outcome, Reason, is_reserved};

/// Where this controller's probes may ask.
#[derive(Debug, Clone, Default)]
pub struct Nets {
    /// If there are any, only there; a reserved range must stand here itself to be asked.
    pub allow: Vec<Network>,
    /// Never there.
    pub deny: Vec<Network>,
    /// Ports of this controller's own listeners, closed on all of this machine's addresses.
    pub own_ports: Vec<u16>,
}

/// Asks within [`Nets`]. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Engine(Arc<Nets>);

impl Engine {
    /// An engine that asks within these.
    #[must_use]
    pub fn new(nets: Nets) -> Self {
        Self(Arc::new(nets))
    }

    /// Asks once; ends within `timeout_ms`.
    pub async fn ask(&self, check: &Check, timeout_ms: u32) -> Outcome {
        sysop_agent::probe::ask(check, Duration::from_millis(timeout_ms.into()), &*self.0).await
    }
}

impl Gate for Nets {
    fn allows_name(&self, _: &str, _: Option<u16>) -> bool {
        // A name says little of where it leads: each of its addresses is judged.
        true
    }

    fn allows_address(&self, _: Option<&str>, address: IpAddr, port: Option<u16>) -> bool {
        let named = |network: &&Network| network.contains(address);
        let meant = |network: &Network| network.prefix() >= 10 && is_reserved(network.address());
        let own = || port.is_some_and(|port| self.own_ports.contains(&port)) && is_local(address);
        let allowed = if is_reserved(address) {
            self.allow.iter().filter(named).any(meant)
        } else {
            self.allow.is_empty() || self.allow.iter().any(|network| network.contains(address))
        };
        allowed && !self.deny.iter().any(|network| network.contains(address)) && !own()
    }

    fn refusal(&self) -> Reason {
        Reason::TargetForbidden
    }
}

/// Whether an address is this machine's own: whoever can bind it has it.
fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_listeners_and_metadata_are_closed_and_lists_hold() {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let may = |nets: &Nets, address: &str, port| {
            nets.allows_address(None, address.parse().unwrap(), Some(port))
        };
        let plain = Nets { own_ports: vec![8080], ..Nets::default() };
        for (address, port, want) in [
            ("127.0.0.1", 8080, false),
            ("127.9.9.9", 8080, false),
            ("::1", 8080, false),
            ("127.0.0.1", 5432, true),
            ("203.0.113.1", 8080, true),
            ("10.0.0.1", 80, true),
            ("169.254.169.254", 80, false),
            ("::ffff:169.254.169.254", 80, false),
            ("fd00:ec2::254", 80, false),
        ] {
            assert_eq!(may(&plain, address, port), want, "{address}:{port}");
        }
        let bound = Nets { allow: list(&["10.0.0.0/8"]), deny: list(&["10.1.0.0/16"]), ..Nets::default() };
        assert!(may(&bound, "10.2.0.1", 80) && !may(&bound, "10.1.0.1", 80) && !may(&bound, "192.0.2.1", 80));
        let all = Nets { allow: list(&["0.0.0.0/0"]), ..Nets::default() };
        assert!(!may(&all, "169.254.169.254", 80));
        let named = Nets { allow: list(&["169.254.169.254"]), ..Nets::default() };
        assert!(may(&named, "169.254.169.254", 80) && !may(&named, "169.254.1.1", 80));
    }
}
