//! URLs as far as probes go.

use super::check::is_host;

/// Most bytes of a URL.
const MAX_URL: usize = 512;

/// A URL as far as probes go: nothing in it can end a line of a request or name another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https`.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Port, also where it is not written.
    pub port: u16,
    /// Path and query, from the slash on.
    pub path: String,
}

impl Url {
    /// Reads a URL; `None` for anything odd.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_URL
            || !text.bytes().all(|b| b.is_ascii_graphic())
            || text.contains(['\\', '#', '"', '<', '>'])
        {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = match authority.strip_prefix('[') {
            Some(inside) => {
                let (host, after) = inside.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, after)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                let (host, after) = authority.split_at(end);
                if host.contains(':') || !is_host(host) {
                    return None;
                }
                (host, after)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port > 0)?
            }
            None if port.is_empty() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            _ => return None,
        };
        let path = match path {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        Some(Self { tls, host: host.to_ascii_lowercase(), port, path })
    }

    /// Where a `Location` leads from here; `None` for anything odd.
    #[must_use]
    pub fn join(&self, location: &str) -> Option<Self> {
        if location.contains("://") {
            return Self::parse(location.split('#').next().unwrap_or_default());
        }
        let authority = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let scheme = if self.tls { "https" } else { "http" };
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let folder = self.path.split('?').next().unwrap_or("/");
            format!("{}/{location}", folder.rsplit_once('/').map_or("", |(folder, _)| folder))
        };
        let path = path.split('#').next().unwrap_or("/");
        Self::parse(&format!("{scheme}://{authority}:{}{path}", self.port))
    }
}
