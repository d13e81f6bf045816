//! Where a request really comes from, and under which name it reached us.
//!
//! Forwarded headers count only from a listed proxy. The name must be one of ours: a page of another
//! site that had its name point here (DNS rebinding) gets nothing.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode, Uri};

use super::error::Problem;
use crate::config::Server;

/// The other end of a connection, put into each request by the listener.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// What is known of the one who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address, behind listed proxies.
    pub source: IpAddr,
    /// Whether the browser speaks HTTPS.
    pub https: bool,
    /// Name and port under which the browser reached us.
    pub authority: String,
}

impl Client {
    /// Our origin as the browser sees it.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority)
    }

    /// The name without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }
}

/// Who asks, if it may ask at all.
///
/// # Errors
/// When the connection is not one that may be used, or the name is not ours.
pub fn client(peer: Peer, headers: &HeaderMap, uri: &Uri, server: &Server) -> Result<Client, Problem> {
    let from = peer.address.ip().to_canonical();
    let is_proxy = |address: IpAddr| server.trusted_proxies.iter().any(|network| network.contains(address));
    let forwarded = ["x-forwarded-for", "x-forwarded-proto"].iter().any(|name| headers.contains_key(*name));
    let by_proxy = is_proxy(from) && (forwarded || !from.is_loopback());
    let (source, https) = if by_proxy {
        (forwarded_source(headers, is_proxy).unwrap_or(from), forwarded_https(headers))
    } else {
        (from, peer.tls)
    };
    if !https && (by_proxy || !from.is_loopback()) {
        return Err(Problem::forbidden(
            "this needs HTTPS; plain HTTP answers /api/health alone from other machines",
        )
        .remedy(
            "use https://, or have the controller's administrator set server.https or server.trusted_proxies",
        ));
    }
    let authority = authority(headers, uri)?;
    if !is_ours(host_of(&authority), server) {
        return Err(Problem::forbidden("this controller is not known under the name in the address")
            .status(StatusCode::MISDIRECTED_REQUEST)
            .about("host")
            .remedy("add the name to server.hosts (SYSOP_HOSTS) on the controller"));
    }
    Ok(Client { source, https, authority })
}

/// The last address in the chain that is not one of our proxies: what stands before it may be made up.
fn forwarded_source(headers: &HeaderMap, is_proxy: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).collect();
    let chain = lines.iter().rev().flat_map(|line| line.rsplit(','));
    for hop in chain {
        let address: IpAddr = hop.trim().parse().ok()?;
        if !is_proxy(address.to_canonical()) {
            return Some(address.to_canonical());
        }
    }
    None
}

/// A listed proxy that does not say otherwise speaks HTTPS to the browser.
fn forwarded_https(headers: &HeaderMap) -> bool {
    let said = headers.get_all("x-forwarded-proto").iter().next_back();
    said.is_none_or(|value| {
        value.to_str().is_ok_and(|text| text.rsplit(',').next().is_some_and(|proto| proto.trim() == "https"))
    })
}

fn authority(headers: &HeaderMap, uri: &Uri) -> Result<String, Problem> {
    let mut named = headers.get_all(HOST).iter();
    let host = named.next();
    let text = match (uri.authority(), host, named.next()) {
        (None, Some(host), None) => host.to_str().ok(),
        (Some(authority), None, None) => Some(authority.as_str()),
        (Some(authority), Some(host), None) if host.as_bytes() == authority.as_str().as_bytes() => {
            Some(authority.as_str())
        }
        _ => None,
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b);
    match text {
        Some(text) if !text.is_empty() && text.len() <= 259 && text.bytes().all(allowed) => {
            Ok(text.to_ascii_lowercase())
        }
        _ => Err(Problem::malformed("the request must carry one Host header").about("host")),
    }
}

fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// An address cannot be rebound; a name must be a known one.
fn is_ours(host: &str, server: &Server) -> bool {
    host.parse::<IpAddr>().is_ok() || host == "localhost" || server.hosts.iter().any(|name| name == host)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, Sources};

    fn server() -> Server {
        let environment = BTreeMap::from([
            ("SYSOP_HOSTS".to_owned(), "sysop.example".to_owned()),
            ("SYSOP_TRUSTED_PROXIES".to_owned(), "10.0.0.0/8,127.0.0.1".to_owned()),
        ]);
        let sources = Sources::new(vec![], environment, None, "/nonexistent".as_ref()).unwrap();
        Config::load(sources).unwrap().server
    }

    fn ask(peer: &str, tls: bool, headers: &[(&'static str, &str)]) -> Result<Client, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        client(Peer { address: peer.parse().unwrap(), tls }, &map, &Uri::from_static("/"), &server())
    }

    #[test]
    fn plain_http_is_for_the_loopback_and_listed_proxies() {
        let host = ("host", "127.0.0.1:8080");
        assert!(!ask("127.0.0.1:5", false, &[host]).unwrap().https);
        assert!(ask("192.0.2.1:5", true, &[host]).unwrap().https);
        assert_eq!(ask("192.0.2.1:5", false, &[host]).unwrap_err().status, StatusCode::FORBIDDEN);
        assert!(ask("10.1.1.1:5", false, &[host]).unwrap().https);
        assert!(ask("10.1.1.1:5", false, &[host, ("x-forwarded-proto", "http")]).is_err());
        assert!(ask("10.1.1.1:5", false, &[host, ("x-forwarded-proto", "https")]).unwrap().https);
    }

    #[test]
    fn forwarded_headers_are_ignored_unless_a_trusted_proxy_sends_them() {
        let host = ("host", "sysop.example");
        let source = |peer: &str, chain: &str| {
            ask(peer, true, &[host, ("x-forwarded-for", chain)]).unwrap().source.to_string()
        };
        assert_eq!(source("192.0.2.1:5", "127.0.0.1"), "192.0.2.1");
        assert_eq!(source("10.1.1.1:5", "203.0.113.7"), "203.0.113.7");
        assert_eq!(source("10.1.1.1:5", "127.0.0.9, 203.0.113.7, 10.2.2.2"), "203.0.113.7");
        assert_eq!(source("10.1.1.1:5", "not an address"), "10.1.1.1");
        assert!(ask("192.0.2.1:5", false, &[host, ("x-forwarded-proto", "https")]).is_err());
    }

    #[test]
    fn a_name_that_is_not_ours_gets_nothing() {
        for (host, good) in [
            ("sysop.example", true),
            ("SYSOP.example:8080", true),
            ("localhost:8080", true),
            ("[::1]:8080", true),
            ("192.0.2.9", true),
            ("evil.example", false),
            ("sysop.example.evil", false),
            ("127.0.0.1.evil.example", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(ask("127.0.0.1:5", false, &[("host", host)]).is_ok(), good, "{host}");
        }
        assert!(ask("127.0.0.1:5", false, &[]).is_err());
        let twice = [("host", "sysop.example"), ("host", "sysop.example")];
        assert!(ask("127.0.0.1:5", false, &twice).is_err());
        let client = ask("127.0.0.1:5", false, &[("host", "[::1]:8080")]).unwrap();
        assert_eq!((client.host(), client.origin().as_str()), ("::1", "http://[::1]:8080"));
    }
}
