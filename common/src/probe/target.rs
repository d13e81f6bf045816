//! Which addresses may be probed: ranges that nobody may by default, and an owner's patterns.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::check::is_name;
use crate::grant::matches_pattern;
use crate::network::Network;

/// Addresses at which clouds tell an instance its secrets, outside the link-local ranges: Alibaba, Azure,
/// Oracle. From the clouds' own documentation.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// Whether an address is one that no probe asks unless someone names it: link-local (where clouds keep an
/// instance's metadata), the metadata addresses outside of it, "this network", multicast and broadcast.
/// IPv4 in IPv6 clothes, NAT64 and 6to4 included, counts as the IPv4 address.
#[must_use]
pub fn is_reserved(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            v4.is_link_local() || first == 0 || first >= 224 || METADATA.contains(&v4)
        }
        IpAddr::V6(v6) => {
            let s = v6.segments();
            let inside = |high: u16, low: u16| {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                is_reserved(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
            };
            v6.is_unspecified()
                || v6.is_multicast()
                || s[0] & 0xffc0 == 0xfe80
                // AWS and Google keep metadata here.
                || (s[0] == 0xfd00 && s[1] == 0x0ec2)
                || (s[0] == 0xfd20 && s[1] == 0x00ce)
                || (s[0] == 0x0064 && s[1] == 0xff9b && inside(s[6], s[7]))
                || (s[0] == 0x2002 && inside(s[1], s[2]))
                // IPv4-compatible, long deprecated; loopback is its own.
                || (s[..6] == [0; 6] && v6 != Ipv6Addr::LOCALHOST && inside(s[6], s[7]))
        }
    }
}

/// An owner's pattern of targets: `10.0.0.0/8:5432`, `[2001:db8::]/32:443`, `*.example.org:80-443`,
/// `192.0.2.7`; without ports any port, and ping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    on: On,
    ports: Option<(u16, u16)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum On {
    Network(Network),
    Name(String),
}

/// A text that is no pattern of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an address, a range or a name with ports or without: 10.0.0.5:5432, 10.0.0.0/8:80-443, [2001:db8::]/32:443, *.example.org:443"
)]
pub struct PatternError;

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > 300 {
            return Err(PatternError);
        }
        let (place, ports) = match text.rsplit_once(':') {
            // An IPv6 address with ports stands in brackets.
            Some((place, ports)) if !place.contains(':') || place.contains(']') => (place, Some(ports)),
            _ => (text, None),
        };
        let ports = ports.map(|ports| {
            let (low, high) = ports.split_once('-').unwrap_or((ports, ports));
            let (low, high) = (low.parse::<u16>(), high.parse::<u16>());
            match (low, high) {
                (Ok(low), Ok(high)) if low > 0 && low <= high => Ok((low, high)),
                _ => Err(PatternError),
            }
        });
        let place = place.replace(['[', ']'], "");
        let on = match place.parse() {
            Ok(network) => On::Network(network),
            Err(_) if place.contains([':', '/']) => return Err(PatternError),
            Err(_) => {
                // A wildcard stands for labels at the front only.
                let rest = place.strip_prefix("*.").unwrap_or(&place);
                if !is_name(rest) {
                    return Err(PatternError);
                }
                On::Name(place.to_ascii_lowercase())
            }
        };
        Ok(Self { on, ports: ports.transpose()? })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.on {
            On::Network(network) if network.is_ipv6() && self.ports.is_some() => {
                let text = network.to_string();
                let (address, prefix) = text.split_once('/').unwrap_or((&text, ""));
                write!(f, "[{address}]")?;
                if !prefix.is_empty() {
                    write!(f, "/{prefix}")?;
                }
            }
            On::Network(network) => write!(f, "{network}")?,
            On::Name(name) => f.write_str(name)?,
        }
        match self.ports {
            Some((low, high)) if low == high => write!(f, ":{low}"),
            Some((low, high)) => write!(f, ":{low}-{high}"),
            None => Ok(()),
        }
    }
}

impl Pattern {
    /// Whether it allows a target called `name` at `port`; `None` is a question without a port, such as a ping.
    #[must_use]
    pub fn allows_name(&self, name: &str, port: Option<u16>) -> bool {
        let On::Name(pattern) = &self.on else { return false };
        self.allows_port(port) && matches_pattern(pattern, &name.to_ascii_lowercase())
    }

    /// Whether it allows this address at `port`. A reserved address needs a pattern that lies within the
    /// reserved ranges itself: "everything" does not mean the metadata service.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr, port: Option<u16>) -> bool {
        let On::Network(network) = &self.on else { return false };
        let meant = !is_reserved(address) || (network.prefix() >= 10 && is_reserved(network.address()));
        meant && self.allows_port(port) && network.contains(address)
    }

    fn allows_port(&self, port: Option<u16>) -> bool {
        match (self.ports, port) {
            (None, _) => true,
            (Some((low, high)), Some(port)) => (low..=high).contains(&port),
            (Some(_), None) => false,
        }
    }
}
