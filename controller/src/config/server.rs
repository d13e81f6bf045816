//! Dashboard and API: where they listen, whom they trust; the state's folder; logs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::sources::{ConfigError, Key, Sources};
use super::units::{flag, list};
use sysop_common::network::{Network, NetworkError};

/// What kind of installation this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A try-out: a local agent, logs for people.
    Development,
    /// No shortcuts, cookies for HTTPS only, logs for machines.
    Production,
}

/// How the dashboard's TLS is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Https {
    /// Not here: loopback only, or a proxy does it.
    Off,
    /// With a certificate from the controller's own CA.
    Own,
    /// With a certificate and key in PEM files.
    Files {
        /// Certificate, followed by those of its issuers.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// `[server]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// Address of dashboard and API.
    pub listen: SocketAddr,
    /// Folder of the state.
    pub data_dir: PathBuf,
    /// Names under which browsers may reach the dashboard, besides addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Proxies whose `Forwarded` headers count.
    pub trusted_proxies: Vec<Network>,
    /// TLS of the dashboard.
    pub https: Https,
    /// Kind of installation.
    pub environment: Environment,
    /// Least level that is logged.
    pub log_level: tracing::Level,
    /// Form of log lines.
    pub log_format: LogFormat,
}

const LISTEN: Key = Key::new("server.listen", &["SYSOP_LISTEN"]);
const PORT: Key = Key::new("server.port", &["SYSOP_PORT", "APP_PORT"]);
const DATA_DIR: Key = Key::new("server.data_dir", &["SYSOP_DATA_DIR"]);
const HOSTS: Key = Key::new("server.hosts", &["SYSOP_HOSTS"]);
const PROXIES: Key = Key::new("server.trusted_proxies", &["SYSOP_TRUSTED_PROXIES"]);
const HTTPS: Key = Key::new("server.https", &["SYSOP_HTTPS"]);
const CERTIFICATE: Key = Key::new("server.certificate", &["SYSOP_CERTIFICATE"]);
const KEY: Key = Key::new("server.key", &["SYSOP_KEY"]);
const ENVIRONMENT: Key = Key::new("server.environment", &["SYSOP_ENV", "APP_ENV"]);
const LOG_LEVEL: Key = Key::new("server.log_level", &["SYSOP_LOG_LEVEL", "APP_LOG_LEVEL"]);
const DEBUG: Key = Key::new("server.debug", &["SYSOP_DEBUG", "APP_DEBUG"]);
const LOG_FORMAT: Key = Key::new("server.log_format", &["SYSOP_LOG_FORMAT"]);

impl Server {
    pub(super) fn read(sources: &mut Sources) -> Result<Self, ConfigError> {
        let environment = sources.read(ENVIRONMENT, environment)?.unwrap_or(Environment::Development);
        let port = sources.read(PORT, port)?.unwrap_or(8080);
        let level = sources.read(LOG_LEVEL, level)?.unwrap_or(tracing::Level::INFO);
        let debug = sources.read(DEBUG, flag)?.unwrap_or(false);
        let format = match environment {
            Environment::Development => LogFormat::Text,
            Environment::Production => LogFormat::Json,
        };
        Ok(Self {
            listen: sources
                .read(LISTEN, address("127.0.0.1:8080"))?
                .unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
            data_dir: sources
                .read(DATA_DIR, |text| Ok(PathBuf::from(text)))?
                .unwrap_or_else(|| PathBuf::from("sysop-data")),
            hosts: sources.read(HOSTS, host_names)?.unwrap_or_default(),
            trusted_proxies: sources.read(PROXIES, networks)?.unwrap_or_default(),
            https: https(sources)?,
            environment,
            log_level: if debug { level.max(tracing::Level::DEBUG) } else { level },
            log_format: sources.read(LOG_FORMAT, log_format)?.unwrap_or(format),
        })
    }

    /// What a person should know about these settings.
    pub(super) fn note(&self) -> Option<String> {
        let open =
            !self.listen.ip().is_loopback() && self.https == Https::Off && self.trusted_proxies.is_empty();
        open.then(|| {
            format!(
                "server.listen is {}, but without HTTPS: other machines get /api/health only. Set server.https = \"own\", \
                 name certificate files, or list a proxy in server.trusted_proxies",
                self.listen
            )
        })
    }
}

fn https(sources: &mut Sources) -> Result<Https, ConfigError> {
    let path = |text: &str| Ok(PathBuf::from(text));
    let files = (sources.read(CERTIFICATE, path)?, sources.read(KEY, path)?);
    let mode = sources.read(HTTPS, |text| match text {
        "off" | "own" | "files" => Ok(text.to_owned()),
        _ => Err("must be off, own (a certificate from our CA) or files".to_owned()),
    })?;
    match (mode.as_deref(), files) {
        (None | Some("files"), (Some(certificate), Some(key))) => Ok(Https::Files { certificate, key }),
        (None | Some("off"), (None, None)) => Ok(Https::Off),
        (Some("own"), (None, None)) => Ok(Https::Own),
        _ => Err(ConfigError::new(
            "server.https".to_owned(),
            "server.certificate and server.key belong together and to server.https = \"files\"".to_owned(),
        )),
    }
}

fn environment(text: &str) -> Result<Environment, String> {
    match text.to_ascii_lowercase().as_str() {
        "development" => Ok(Environment::Development),
        "production" => Ok(Environment::Production),
        _ => Err("must be development or production".to_owned()),
    }
}

fn level(text: &str) -> Result<tracing::Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "trace" => Ok(tracing::Level::TRACE),
        "debug" => Ok(tracing::Level::DEBUG),
        "info" => Ok(tracing::Level::INFO),
        "warn" | "warning" => Ok(tracing::Level::WARN),
        "error" => Ok(tracing::Level::ERROR),
        _ => Err("must be TRACE, DEBUG, INFO, WARNING or ERROR".to_owned()),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "must be a port from 0 (any free one) to 65535".to_owned())
}

pub(super) fn address(example: &'static str) -> impl Fn(&str) -> Result<SocketAddr, String> {
    move |text| text.parse().map_err(|_| format!("must be an address and a port such as {example}"))
}

fn host_names(text: &str) -> Result<Vec<String>, String> {
    let name = |name: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
        if name.len() <= 253 && name.bytes().all(allowed) {
            Ok(name.trim_end_matches('.').to_ascii_lowercase())
        } else {
            Err("must be host names without scheme and port such as sysop.example.org".to_owned())
        }
    };
    list(text).map(name).collect()
}

pub(super) fn networks(text: &str) -> Result<Vec<Network>, String> {
    list(text).map(|part| part.parse().map_err(|e: NetworkError| e.to_string())).collect()
}
