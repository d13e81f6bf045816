//! A probe as the form sends it, every value as text, and back.

use serde::Deserialize;

use crate::store::assignments::Selector;
use crate::store::probes::Settings;
use crate::web::api::assignments::LabelBody;
use crate::web::api::probes::{KindWord, MethodWord, ProbeFields, RecordWord, SeverityWord};
use crate::web::error::Problem;
use crate::web::pages::settings::place;

/// The kinds: word, and what it asks.
pub(super) const KINDS: [(&str, &str); 5] =
    [("tcp", "Port"), ("http", "Page"), ("tls", "Certificate"), ("dns", "Name"), ("ping", "Ping")];

/// A probe as the form sends it: every value as text.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sent {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) target: String,
    pub(super) port: String,
    pub(super) count: String,
    pub(super) method: String,
    pub(super) status_min: String,
    pub(super) status_max: String,
    pub(super) contains: String,
    pub(super) redirects: String,
    pub(super) ca: String,
    pub(super) server_name: String,
    pub(super) warn_days: String,
    pub(super) critical_days: String,
    pub(super) record: String,
    pub(super) resolver: String,
    pub(super) expect: String,
    pub(super) run_by: String,
    pub(super) host: String,
    pub(super) interval_s: String,
    pub(super) timeout_ms: String,
    pub(super) failures: String,
    pub(super) successes: String,
    pub(super) severity: String,
    pub(super) enabled: String,
    /// `try` or `keep`.
    pub(super) act: String,
}

fn number<T: std::str::FromStr>(text: &str, field: &'static str) -> Result<Option<T>, Problem> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Problem::invalid(field, "must be a whole number")),
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

impl Sent {
    pub(super) fn settings(&self) -> Result<Settings, Problem> {
        let (run_on_host, run_on_label) = match self.run_by.as_str() {
            "" | "controller" => (None, None),
            place => match place::parse(place, false).map_err(|problem| problem.about("run_by"))? {
                Some(Selector::Host(host)) => (Some(host), None),
                Some(Selector::Label { name, value }) => (None, Some(LabelBody { name, value })),
                None => (None, None),
            },
        };
        let host = match self.host.as_str() {
            // A choice of its own: browsers do not send a form whose choice is empty.
            "" | "none" => None,
            id => Some(id.parse().map_err(|_| Problem::invalid("host", "must be one of those in the list"))?),
        };
        let fields = ProbeFields {
            name: self.name.trim().to_owned(),
            kind: match self.kind.as_str() {
                "http" => KindWord::Http,
                "tls" => KindWord::Tls,
                "dns" => KindWord::Dns,
                "ping" => KindWord::Ping,
                _ => KindWord::Tcp,
            },
            target: self.target.trim().to_owned(),
            port: number(&self.port, "port")?,
            count: number(&self.count, "count")?,
            method: (self.method == "HEAD").then_some(MethodWord::Head),
            status_min: number(&self.status_min, "status_min")?,
            status_max: number(&self.status_max, "status_max")?,
            contains: text(&self.contains),
            redirects: number(&self.redirects, "redirects")?,
            ca: text(&self.ca),
            server_name: text(&self.server_name),
            warn_days: number(&self.warn_days, "warn_days")?,
            critical_days: number(&self.critical_days, "critical_days")?,
            record: match self.record.as_str() {
                "AAAA" => Some(RecordWord::Aaaa),
                "CNAME" => Some(RecordWord::Cname),
                "MX" => Some(RecordWord::Mx),
                "TXT" => Some(RecordWord::Txt),
                _ => None,
            },
            resolver: text(&self.resolver),
            expect: self.expect.split(',').filter_map(text).collect(),
            run_on_host,
            run_on_label,
            host,
            interval_s: number(&self.interval_s, "interval_s")?,
            timeout_ms: number(&self.timeout_ms, "timeout_ms")?,
            failures: number(&self.failures, "failures")?,
            successes: number(&self.successes, "successes")?,
            severity: match self.severity.as_str() {
                "info" => Some(SeverityWord::Info),
                "warning" => Some(SeverityWord::Warning),
                _ => None,
            },
            enabled: Some(self.enabled != "off"),
        };
        fields.settings()
    }

    /// A form that says what a probe is.
    pub(super) fn of(settings: &Settings) -> Self {
        fn shown<T: std::fmt::Display>(value: Option<T>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        let fields = ProbeFields::from(settings);
        let run_by = match (&fields.run_on_host, &fields.run_on_label) {
            (Some(host), _) => format!("host:{host}"),
            (_, Some(label)) => format!("label:{}={}", label.name, label.value),
            _ => "controller".to_owned(),
        };
        let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let json = serde_json::to_value(&fields).unwrap_or_default();
        Self {
            kind: settings.check.kind().to_owned(),
            name: fields.name,
            target: fields.target,
            port: shown(fields.port),
            count: shown(fields.count),
            method: word(json["method"].clone()),
            status_min: shown(fields.status_min),
            status_max: shown(fields.status_max),
            contains: shown(fields.contains),
            redirects: shown(fields.redirects),
            ca: shown(fields.ca),
            server_name: shown(fields.server_name),
            warn_days: shown(fields.warn_days),
            critical_days: shown(fields.critical_days),
            record: word(json["record"].clone()),
            resolver: shown(fields.resolver),
            expect: fields.expect.join(", "),
            run_by,
            host: shown(fields.host),
            interval_s: shown(fields.interval_s),
            timeout_ms: shown(fields.timeout_ms),
            failures: shown(fields.failures),
            successes: shown(fields.successes),
            severity: settings.severity.word().to_owned(),
            enabled: if settings.enabled { "on" } else { "off" }.to_owned(),
            act: String::new(),
        }
    }

    pub(super) fn new(kind: &str) -> Self {
        let known = KINDS.iter().find(|(word, _)| *word == kind).map_or("tcp", |(word, _)| word);
        Self { kind: known.to_owned(), ..Self::default() }
    }
}
