//! What a probe asks, with bounds that hold on both sides of the wire.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::url::Url;

/// Most packets of one ping.
const MAX_PINGS: u8 = 5;
/// Most bytes of a text that must be in an answer.
const MAX_TEXT: usize = 200;
/// Most redirects that are followed, all to the same host.
const MAX_REDIRECTS: u8 = 3;
/// Most bytes of a CA's certificates, PEM.
const MAX_CA: usize = 6 * 1024;
/// Most values that a DNS answer is compared with.
const MAX_EXPECTED: usize = 8;
/// Longest warning before a certificate ends, in days.
const MAX_DAYS: u16 = 365;

/// What is asked. Variants and fields are only ever appended: their order is the wire format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Whether it answers a ping.
    Ping {
        /// Name or address.
        address: String,
        /// How many packets are sent; one answer is enough.
        count: u8,
    },
    /// Whether it takes a connection.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Whether it answers a request.
    Http {
        /// `http://` or `https://`, without a user or a fragment.
        url: String,
        /// How it is asked.
        method: Method,
        /// Least status that is well.
        status_min: u16,
        /// Largest status that is well.
        status_max: u16,
        /// Text that must be in the first 256 KiB of the answer.
        contains: Option<String>,
        /// Redirects to follow, to the same host only.
        redirects: u8,
        /// Certificates to trust in place of the system's, PEM.
        ca: Option<String>,
    },
    /// How long its certificate is still good.
    Tls {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
        /// The name that the certificate must carry; `host` without it.
        server_name: Option<String>,
        /// A warning from so many days before the end on.
        warn_days: u16,
        /// Critical from so many days before the end on.
        critical_days: u16,
        /// Certificates to trust in place of the system's, PEM.
        ca: Option<String>,
    },
    /// Whether a name resolves, and to what.
    Dns {
        /// The name.
        name: String,
        /// Which records.
        record: Record,
        /// Who is asked, an address with or without a port; the prober's own resolvers without it.
        resolver: Option<String>,
        /// Values that must be in the answer.
        expect: Vec<String>,
    },
}

/// Method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
}

/// Type of DNS records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Record {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Another name for it.
    Cname,
    /// Mail servers, `10 mail.example.org`.
    Mx,
    /// Texts.
    Txt,
}

impl Record {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::A, Self::Aaaa, Self::Cname, Self::Mx, Self::Txt];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Txt => "TXT",
        }
    }

    /// Its number on the wire of DNS (RFC 1035, RFC 3596).
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Cname => 5,
            Self::Mx => 15,
            Self::Txt => 16,
            Self::Aaaa => 28,
        }
    }
}

/// A field of a probe that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct CheckError {
    /// Which.
    pub field: &'static str,
    /// What it must be.
    pub problem: &'static str,
}

impl CheckError {
    pub(super) const fn new(field: &'static str, problem: &'static str) -> Self {
        Self { field, problem }
    }
}

type Checked = Result<(), CheckError>;

impl Check {
    /// The word for its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Ping { .. } => "ping",
            Self::Tcp { .. } => "tcp",
            Self::Http { .. } => "http",
            Self::Tls { .. } => "tls",
            Self::Dns { .. } => "dns",
        }
    }

    /// What it asks, for people: `db-1:5432`. Of an address the part behind `?` is left out: it may hold a secret,
    /// and this text goes to incidents and records.
    #[must_use]
    pub fn target(&self) -> String {
        let at = |host: &str, port: u16| {
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
        };
        match self {
            Self::Ping { address, .. } => address.clone(),
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => at(host, *port),
            Self::Http { url, .. } => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
            Self::Dns { name, record, .. } => format!("{name} {}", record.word()),
        }
    }

    /// What an owner's pattern is about: the name or address, and the port if there is one. For DNS without a
    /// resolver of its own the name that is asked for.
    #[must_use]
    pub fn place(&self) -> (String, Option<u16>) {
        match self {
            Self::Ping { address, .. } => (address.clone(), None),
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => (host.clone(), Some(*port)),
            Self::Http { url, .. } => Url::parse(url)
                .map_or_else(|| (String::new(), None), |url| (url.host.clone(), Some(url.port))),
            Self::Dns { name, .. } => (name.trim_end_matches('.').to_owned(), Some(53)),
        }
    }

    /// The line that an owner adds under `[probes]` to allow this probe, as a list of patterns.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        let (host, port) = self.place();
        let written = |host: &str, port: Option<u16>| match port {
            Some(port) if host.contains(':') => format!("[{host}]:{port}"),
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let mut patterns = vec![written(&host, port)];
        if let Self::Dns { resolver: Some(resolver), .. } = self
            && let Some(resolver) = Resolver::parse(resolver)
        {
            patterns.push(written(&resolver.0.ip().to_string(), Some(resolver.0.port())));
        }
        patterns
    }

    /// Whether every field keeps to its bounds.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn validate(&self) -> Checked {
        match self {
            Self::Ping { address, count } => {
                host_field("address", address)?;
                within((1..=MAX_PINGS).contains(count), "count", "must be from 1 to 5")
            }
            Self::Tcp { host, port } => {
                host_field("host", host)?;
                within(*port > 0, "port", "must be from 1 to 65535")
            }
            Self::Http { url, status_min, status_max, contains, redirects, ca, method } => {
                within(
                    Url::parse(url).is_some(),
                    "url",
                    "must be such as https://www.example.org/health, without a user, in ASCII, at most 512 bytes",
                )?;
                within((100..=599).contains(status_min), "status_min", "must be from 100 to 599")?;
                let above = status_min <= status_max && *status_max <= 599;
                within(above, "status_max", "must be from the least status to 599")?;
                let fits = |text: &String| {
                    (4..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
                };
                within(
                    contains.as_ref().is_none_or(fits),
                    "contains",
                    "must have 4 to 200 bytes, without control characters",
                )?;
                within(
                    contains.is_none() || *method == Method::Get,
                    "contains",
                    "needs GET: a HEAD has no text",
                )?;
                within(*redirects <= MAX_REDIRECTS, "redirects", "must be at most 3")?;
                ca_field(ca.as_deref())
            }
            Self::Tls { host, port, server_name, warn_days, critical_days, ca } => {
                host_field("host", host)?;
                within(*port > 0, "port", "must be from 1 to 65535")?;
                if let Some(name) = server_name {
                    host_field("server_name", name)?;
                }
                within((1..=MAX_DAYS).contains(warn_days), "warn_days", "must be from 1 to 365")?;
                within(
                    critical_days < warn_days,
                    "critical_days",
                    "must be less than the days of the warning",
                )?;
                ca_field(ca.as_deref())
            }
            Self::Dns { name, resolver, expect, record } => {
                within(
                    is_name(name.trim_end_matches('.')),
                    "name",
                    "must be a name such as www.example.org",
                )?;
                let known = resolver.as_ref().is_none_or(|text| Resolver::parse(text).is_some());
                within(known, "resolver", "must be an address with or without a port, such as 192.0.2.53")?;
                within(expect.len() <= MAX_EXPECTED, "expect", "must be at most 8 values")?;
                let address = matches!(record, Record::A | Record::Aaaa);
                let fits = |text: &String| {
                    !text.is_empty()
                        && text.len() <= 255
                        && !text.chars().any(char::is_control)
                        && (!address
                            || text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == (*record == Record::A)))
                };
                within(
                    expect.iter().all(fits),
                    "expect",
                    "must be values of this type of record, at most 255 bytes each",
                )
            }
        }
    }
}

fn within(fits: bool, field: &'static str, problem: &'static str) -> Checked {
    if fits { Ok(()) } else { Err(CheckError::new(field, problem)) }
}

fn host_field(field: &'static str, host: &str) -> Checked {
    within(is_host(host), field, "must be a name such as www.example.org, or an address")
}

fn ca_field(ca: Option<&str>) -> Checked {
    let fits =
        |text: &str| text.len() <= MAX_CA && text.is_ascii() && text.contains("-----BEGIN CERTIFICATE-----");
    within(ca.is_none_or(fits), "ca", "must be certificates in PEM, at most 6 KiB")
}

pub(super) fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_name(text)
}

/// Whether a text is a name of a host. What system libraries read as an address in odd clothes, `0x7f.1` or
/// `2130706433`, is none: a name does not end in a number.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let numeric = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    text.len() <= 253 && text.split('.').all(label) && !numeric
}

/// A name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolver(pub SocketAddr);

impl Resolver {
    /// From `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53` or `[2001:db8::53]:53`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self(SocketAddr::new(address, 53)));
        }
        text.parse::<SocketAddr>().ok().filter(|at| at.port() > 0).map(Self)
    }
}
