//! One record of `utmp(5)` as glibc writes it on x86-64 and aarch64, for which the agent is built.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Size of a record, and where the time and the address stand in it: on x86-64 the 32-bit layout is kept,
/// on other 64-bit machines session and time are wide.
#[cfg(target_arch = "x86_64")]
const LAYOUT: (usize, usize, usize) = (384, 340, 348);
#[cfg(not(target_arch = "x86_64"))]
const LAYOUT: (usize, usize, usize) = (400, 344, 360);

pub(super) const RECORD: usize = LAYOUT.0;
const USER_PROCESS: i16 = 7;

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Whether a session began, in `wtmp`.
    pub(super) session: bool,
    /// Seconds since 1970.
    pub(super) at: u64,
    /// Remote address; `None` for a local sign-in.
    pub(super) source: Option<IpAddr>,
}

impl Record {
    /// From its bytes; `None` when they are too few or all zero.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let kind = i16::from_ne_bytes(*bytes.first_chunk()?);
        let at = u32::from_ne_bytes(*bytes.get(LAYOUT.1..)?.first_chunk()?);
        let address: [u8; 16] = *bytes.get(LAYOUT.2..)?.first_chunk()?;
        let is_known = kind != 0;
        is_known.then(|| Self { session: kind == USER_PROCESS, at: at.into(), source: source(address) })
    }
}

/// An IPv4 address stands in the first four bytes, the rest is zero.
fn source(bytes: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, rest @ ..] = bytes;
    if rest == [0; 12] {
        let address = Ipv4Addr::new(a, b, c, d);
        return (!address.is_unspecified()).then_some(address.into());
    }
    let address = Ipv6Addr::from(bytes);
    Some(address.to_canonical())
}

/// As the programs write it.
#[cfg(test)]
pub(super) fn bytes(kind: i16, at: u32, source: IpAddr) -> Vec<u8> {
    let mut out = vec![0; RECORD];
    out[..2].copy_from_slice(&kind.to_ne_bytes());
    out[LAYOUT.1..LAYOUT.1 + 4].copy_from_slice(&at.to_ne_bytes());
    match source {
        IpAddr::V4(address) => out[LAYOUT.2..LAYOUT.2 + 4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => out[LAYOUT.2..LAYOUT.2 + 16].copy_from_slice(&address.octets()),
    }
    out
}
