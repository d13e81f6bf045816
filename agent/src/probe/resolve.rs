//! From a name to addresses that may be asked: looked up once, and judged before anything connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use sysop_common::probe::Reason;
use tokio::sync::Semaphore;

use super::{Failure, Gate};

/// Lookups at a time: the system's resolver holds a thread for each, also after its probe gave up.
const LOOKUPS: usize = 8;
/// Addresses of a name that are tried.
const ADDRESSES: usize = 4;

static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LOOKUPS)));

/// The addresses of `host` that may be asked, at least one.
pub(super) async fn addresses(
    host: &str,
    port: Option<u16>,
    gate: &dyn Gate,
) -> Result<Vec<IpAddr>, Failure> {
    let (name, found) = match host.parse::<IpAddr>() {
        Ok(address) => (None, vec![address]),
        // Known without asking anybody (RFC 6761).
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            (None, vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
        }
        Err(_) if !gate.allows_name(host, port) => return Err(gate.refusal().into()),
        Err(_) => (Some(host), lookup(host).await?),
    };
    let allowed: Vec<IpAddr> = found
        .into_iter()
        .map(|address| address.to_canonical())
        .filter(|address| gate.allows_address(name, *address, port))
        .take(ADDRESSES)
        .collect();
    if allowed.is_empty() { Err(gate.refusal().into()) } else { Ok(allowed) }
}

async fn lookup(host: &str) -> Result<Vec<IpAddr>, Failure> {
    let room = ROOM.clone().acquire_owned().await.map_err(|_| Failure::from(Reason::LocalFault))?;
    let host = host.to_owned();
    // Its place is free again when the lookup ends, not when whoever waits for it gives up.
    let looked = tokio::spawn(async move {
        let found = tokio::net::lookup_host((host.as_str(), 0)).await;
        drop(room);
        found.map(|found| found.map(|at| at.ip()).collect::<Vec<_>>())
    });
    match looked.await {
        Ok(Ok(found)) if !found.is_empty() => Ok(found),
        Ok(Ok(_)) => Err(Reason::NameUnknown.into()),
        Ok(Err(error)) => {
            // The library tells no more than a text: "Temporary failure" is of the resolver.
            let temporary = error.to_string().contains("emporary") || error.to_string().contains("ry again");
            Err(if temporary { Reason::NameFailed } else { Reason::NameUnknown }.into())
        }
        Err(_) => Err(Reason::LocalFault.into()),
    }
}
