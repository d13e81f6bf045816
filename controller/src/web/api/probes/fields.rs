//! A probe as the API and the form know it: one flat list of fields for all kinds.

use serde::{Deserialize, Serialize};
use sysop_common::finding::Severity;
use sysop_common::ids::HostId;
use sysop_common::probe::{Check, Method, Record};
use utoipa::ToSchema;

use crate::store::probes::{RunBy, Settings};
use crate::web::api::assignments::LabelBody;
use crate::web::error::Problem;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KindWord {
    /// Whether `target` answers a ping.
    Ping,
    /// Whether `target` takes a connection at `port`.
    #[default]
    Tcp,
    /// Whether the URL `target` answers a request.
    Http,
    /// How long the certificate of `target` at `port` is still good.
    Tls,
    /// Whether the name `target` resolves, and to what.
    Dns,
}

/// How a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum MethodWord {
    /// With its text.
    Get,
    /// Without.
    Head,
}

/// Type of DNS records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordWord {
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

/// How bad it is when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeverityWord {
    /// Worth knowing.
    Info,
    /// Trouble for a part.
    Warning,
    /// Trouble now.
    #[default]
    Critical,
}

/// A probe. Fields that its kind does not know are not looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeFields {
    /// Its name, one of its own.
    #[schema(min_length = 1, max_length = 80)]
    pub name: String,
    /// What is asked.
    pub kind: KindWord,
    /// Name, address or, for `http`, URL.
    #[schema(min_length = 1, max_length = 512)]
    pub target: String,
    /// Port, for `tcp` and `tls`; 443 for `tls` without it.
    #[serde(default)]
    pub port: Option<u16>,
    /// Packets of a ping, 1 to 5; else 3.
    #[serde(default)]
    pub count: Option<u8>,
    /// For `http`; else `GET`.
    #[serde(default)]
    pub method: Option<MethodWord>,
    /// Least status that is well; else 200.
    #[serde(default)]
    pub status_min: Option<u16>,
    /// Largest status that is well; else 399.
    #[serde(default)]
    pub status_max: Option<u16>,
    /// Text of 4 to 200 bytes that must be in the first 256 KiB of the answer.
    #[serde(default)]
    pub contains: Option<String>,
    /// Redirects to follow to the same host, at most 3; else none.
    #[serde(default)]
    pub redirects: Option<u8>,
    /// Certificates to trust in place of the system's, PEM, for `http` and `tls`.
    #[serde(default)]
    pub ca: Option<String>,
    /// The name that a certificate must carry; `target` without it.
    #[serde(default)]
    pub server_name: Option<String>,
    /// A warning from so many days before the end of a certificate on; else 21.
    #[serde(default)]
    pub warn_days: Option<u16>,
    /// Critical from so many days before it on; else 7.
    #[serde(default)]
    pub critical_days: Option<u16>,
    /// For `dns`; else `A`.
    #[serde(default)]
    pub record: Option<RecordWord>,
    /// Who is asked, an address with or without a port; the prober's own resolvers without it.
    #[serde(default)]
    pub resolver: Option<String>,
    /// Values that must be in the answer, at most 8.
    #[serde(default)]
    pub expect: Vec<String>,
    /// The host that runs it; or
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub run_on_host: Option<HostId>,
    /// the hosts with this label of an admin's; without both the controller runs it.
    #[serde(default)]
    pub run_on_label: Option<LabelBody>,
    /// The host whose card it is on, for a probe that the controller runs.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub host: Option<HostId>,
    /// Time between two tries in seconds, 10 to 3600; else 60.
    #[serde(default)]
    pub interval_s: Option<u32>,
    /// How long an answer is waited for in ms, 100 to 10000; else 5000.
    #[serde(default)]
    pub timeout_ms: Option<u32>,
    /// Failures in a row before it is told of, 1 to 20; else 3.
    #[serde(default)]
    pub failures: Option<u8>,
    /// Answers in a row before that is over, 1 to 20; else 2.
    #[serde(default)]
    pub successes: Option<u8>,
    /// How bad a failure is; else critical.
    #[serde(default)]
    pub severity: Option<SeverityWord>,
    /// Whether it is run; else it is.
    #[serde(default)]
    pub enabled: Option<bool>,
}

impl ProbeFields {
    /// What is asked.
    fn check(&self) -> Result<Check, Problem> {
        let target = self.target.trim().to_owned();
        let ca = self.ca.clone().filter(|text| !text.trim().is_empty());
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let check = match self.kind {
            KindWord::Ping => Check::Ping { address: target, count: self.count.unwrap_or(3) },
            KindWord::Tcp => {
                let port = self.port.ok_or_else(|| Problem::invalid("port", "must be given"))?;
                Check::Tcp { host: target, port }
            }
            KindWord::Http => Check::Http {
                url: target,
                method: match self.method {
                    Some(MethodWord::Head) => Method::Head,
                    _ => Method::Get,
                },
                status_min: self.status_min.unwrap_or(200),
                status_max: self.status_max.unwrap_or(399),
                contains: filled(&self.contains),
                redirects: self.redirects.unwrap_or(0),
                ca,
            },
            KindWord::Tls => Check::Tls {
                host: target,
                port: self.port.unwrap_or(443),
                server_name: filled(&self.server_name),
                warn_days: self.warn_days.unwrap_or(21),
                critical_days: self.critical_days.unwrap_or(7),
                ca,
            },
            KindWord::Dns => Check::Dns {
                name: target,
                record: match self.record {
                    None | Some(RecordWord::A) => Record::A,
                    Some(RecordWord::Aaaa) => Record::Aaaa,
                    Some(RecordWord::Cname) => Record::Cname,
                    Some(RecordWord::Mx) => Record::Mx,
                    Some(RecordWord::Txt) => Record::Txt,
                },
                resolver: filled(&self.resolver),
                expect: self.expect.clone(),
            },
        };
        Ok(check)
    }

    /// As settings of a probe.
    ///
    /// # Errors
    /// When fields that the kind needs are missing, or two contradict each other.
    pub fn settings(&self) -> Result<Settings, Problem> {
        let run_by = match (self.run_on_host, &self.run_on_label) {
            (None, None) => RunBy::Controller,
            (Some(host), None) => RunBy::Host(host),
            (None, Some(label)) => RunBy::Label { name: label.name.clone(), value: label.value.clone() },
            _ => return Err(Problem::invalid("run_on_host", "or run_on_label may be given, and not both")),
        };
        let interval_ms = self.interval_s.unwrap_or(60).checked_mul(1_000);
        Ok(Settings {
            name: self.name.clone(),
            check: self.check()?,
            run_by,
            host: self.host,
            interval_ms: interval_ms.unwrap_or(u32::MAX),
            timeout_ms: self.timeout_ms.unwrap_or(5_000),
            failures: self.failures.unwrap_or(3),
            successes: self.successes.unwrap_or(2),
            severity: match self.severity.unwrap_or_default() {
                SeverityWord::Info => Severity::Info,
                SeverityWord::Warning => Severity::Warning,
                SeverityWord::Critical => Severity::Critical,
            },
            enabled: self.enabled.unwrap_or(true),
        })
    }
}

impl From<&Settings> for ProbeFields {
    fn from(settings: &Settings) -> Self {
        let (run_on_host, run_on_label) = match &settings.run_by {
            RunBy::Controller => (None, None),
            RunBy::Host(host) => (Some(*host), None),
            RunBy::Label { name, value } => {
                (None, Some(LabelBody { name: name.clone(), value: value.clone() }))
            }
        };
        let common = Self {
            name: settings.name.clone(),
            run_on_host,
            run_on_label,
            host: settings.host,
            interval_s: Some(settings.interval_ms / 1_000),
            timeout_ms: Some(settings.timeout_ms),
            failures: Some(settings.failures),
            successes: Some(settings.successes),
            severity: Some(match settings.severity {
                Severity::Info => SeverityWord::Info,
                Severity::Warning => SeverityWord::Warning,
                Severity::Critical => SeverityWord::Critical,
            }),
            enabled: Some(settings.enabled),
            ..Self::default()
        };
        match settings.check.clone() {
            Check::Ping { address, count } => {
                Self { kind: KindWord::Ping, target: address, count: Some(count), ..common }
            }
            Check::Tcp { host, port } => {
                Self { kind: KindWord::Tcp, target: host, port: Some(port), ..common }
            }
            Check::Http { url, method, status_min, status_max, contains, redirects, ca } => Self {
                kind: KindWord::Http,
                target: url,
                method: Some(match method {
                    Method::Get => MethodWord::Get,
                    Method::Head => MethodWord::Head,
                }),
                status_min: Some(status_min),
                status_max: Some(status_max),
                contains,
                redirects: Some(redirects),
                ca,
                ..common
            },
            Check::Tls { host, port, server_name, warn_days, critical_days, ca } => Self {
                kind: KindWord::Tls,
                target: host,
                port: Some(port),
                server_name,
                warn_days: Some(warn_days),
                critical_days: Some(critical_days),
                ca,
                ..common
            },
            Check::Dns { name, record, resolver, expect } => Self {
                kind: KindWord::Dns,
                target: name,
                record: Some(match record {
                    Record::A => RecordWord::A,
                    Record::Aaaa => RecordWord::Aaaa,
                    Record::Cname => RecordWord::Cname,
                    Record::Mx => RecordWord::Mx,
                    Record::Txt => RecordWord::Txt,
                }),
                resolver,
                expect,
                ..common
            },
        }
    }
}
