//! Who has how many connections to the host's own ports.
//!
//! Listing sockets costs with their number, so it is done once a minute, and at once when very many came
//! since the look before; and not at all while there are too few for anybody to have many.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sysop_common::metric;

use super::diag;
use crate::sample::sensor::Output;

/// Connections of one source from which it has a column, and most columns.
const WORTH: u64 = 50;
const SHOWN: usize = 8;
/// New connections since the look before that call for a list at once.
const SURGE: u64 = 100;
/// Longest time for one list.
const TIME: Duration = Duration::from_millis(30);
/// Most sources counted one by one; who comes after them counts in the sum alone.
const MAX_SOURCES: usize = 8_192;
const AF_INET: u8 = 2;

/// Inbound connections by source.
#[derive(Debug, Default)]
pub(super) struct Sources {
    inbound: Option<u64>,
    shown: Vec<(String, u64)>,
    established: Option<u64>,
}

impl Sources {
    /// Looks if it is time; `established` is the number of established connections.
    pub(super) fn look(&mut self, slow: bool, established: Option<u64>) {
        let before = std::mem::replace(&mut self.established, established);
        let surge = before.zip(established).is_some_and(|(before, now)| now >= before + SURGE);
        if !(slow || surge) {
            return;
        }
        self.shown.clear();
        if established.is_some_and(|count| count < WORTH) {
            self.inbound = established;
            return;
        }
        let Ok((sum, sources)) = list() else {
            self.inbound = None;
            return;
        };
        self.inbound = Some(sum);
        self.shown = top(sources);
    }

    pub(super) fn put(&self, out: &mut Output) {
        out.put(metric::TCP_INBOUND, self.inbound);
        for (source, count) in &self.shown {
            out.put_labelled(metric::TCP_INBOUND_FROM, source, Some(*count));
        }
    }
}

/// The number of inbound connections, and how many each source has.
fn list() -> std::io::Result<(u64, HashMap<IpAddr, u64>)> {
    let mut ports = HashSet::new();
    diag::each(1 << diag::LISTEN, TIME, |message| ports.extend(diag::local_port(message)))?;
    let (mut sum, mut sources) = (0, HashMap::new());
    diag::each(1 << diag::ESTABLISHED | 1 << diag::SYN_RECV, TIME, |message| {
        let inbound = diag::local_port(message).is_some_and(|port| ports.contains(&port));
        let Some(source) = remote(message).filter(|source| inbound && !source.is_loopback()) else { return };
        sum += 1;
        if sources.len() < MAX_SOURCES || sources.contains_key(&source) {
            *sources.entry(source).or_insert(0) += 1;
        }
    })?;
    Ok((sum, sources))
}

/// Those with most, by address.
fn top(sources: HashMap<IpAddr, u64>) -> Vec<(String, u64)> {
    let mut all: Vec<_> = sources.into_iter().filter(|(_, count)| *count >= WORTH).collect();
    all.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    all.truncate(SHOWN);
    let mut shown: Vec<_> = all.into_iter().map(|(source, count)| (source.to_string(), count)).collect();
    shown.sort();
    shown
}

fn remote(message: &[u8]) -> Option<IpAddr> {
    let bytes: [u8; 16] = *message.get(24..)?.first_chunk()?;
    if message.first() == Some(&AF_INET) {
        let [a, b, c, d, ..] = bytes;
        return Some(Ipv4Addr::new(a, b, c, d).into());
    }
    Some(Ipv6Addr::from(bytes).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_both_families_and_the_greatest_sources_shown() {
        let mut message = [0_u8; 72];
        (message[0], message[1]) = (AF_INET, diag::ESTABLISHED);
        message[4..6].copy_from_slice(&443_u16.to_be_bytes());
        message[24..28].copy_from_slice(&[203, 0, 113, 9]);
        assert_eq!(diag::local_port(&message), Some(443));
        assert_eq!(remote(&message), Some("203.0.113.9".parse().unwrap()));
        message[0] = 10;
        let mapped: Ipv6Addr = "::ffff:198.51.100.4".parse().unwrap();
        message[24..40].copy_from_slice(&mapped.octets());
        assert_eq!(remote(&message), Some("198.51.100.4".parse().unwrap()));
        assert_eq!(remote(&message[..30]), None);
        let many = (0..20_u32).map(|n| (IpAddr::from(Ipv4Addr::from(n)), u64::from(n) + 40)).collect();
        let shown = top(many);
        assert_eq!(shown.len(), SHOWN);
        assert!(shown.iter().all(|(_, count)| *count >= 52));
    }

    #[test]
    fn live_list_leaves_out_what_the_host_itself_began_and_is_spared_when_few_are_there() {
        let mut sources = Sources::default();
        sources.look(true, Some(10));
        assert_eq!((sources.inbound, sources.shown.len()), (Some(10), 0));
        sources.look(false, Some(20));
        assert_eq!(sources.inbound, Some(10));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // Loopback is nobody's flood.
        let (_, found) = list().unwrap();
        assert!(found.keys().all(|source| !source.is_loopback()));
    }
}
