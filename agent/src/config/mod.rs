//! Settings of the agent: what they are, their defaults and their bounds.
//!
//! Precedence: flag, environment (`SYSOP_` and the key in capitals), file, default. What may be done
//! to the host is not here but in the owner's policy file.

mod layers;
#[cfg(test)]
mod tests;
mod units;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sysop_common::wire::DEFAULT_PORT;

pub use layers::{ConfigError, Layers, with_setting};
pub use units::{Size, Span, UnitError};

/// Where the settings are when nothing else is said.
pub const DEFAULT_FILE: &str = "/etc/sysop/agent.toml";
/// The settings with their documentation, as they are shipped.
pub const SAMPLE: &str = include_str!("../../../packaging/agent.toml");

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The controller, `HOST:PORT`. Empty until the host is enrolled.
    pub controller: String,
    /// What this host is called and how it is labelled.
    pub host: Host,
    /// Sampling.
    pub sample: Sample,
    /// What is hidden in command lines.
    pub redaction: Redaction,
    /// Samples on disk until they are acknowledged.
    pub spool: Spool,
    /// The link to the controller.
    pub link: Link,
    /// Where things are.
    pub paths: Paths,
    /// Log lines.
    pub log: Log,
}

/// What this host is called and how it is labelled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// Name to show; empty means the kernel's host name.
    pub name: String,
    /// Labels, announced as `host.KEY`: for display and selection only.
    pub labels: BTreeMap<String, String>,
}

/// Sampling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sample {
    /// Time between samples until the controller says otherwise.
    pub interval: Span,
    /// The controller may not go below this.
    pub min_interval: Span,
    /// The controller may not go above this.
    pub max_interval: Span,
    /// Where `/proc`, `/sys` and `/etc` of the observed host are.
    pub root: PathBuf,
}

/// What of the processes' command lines is sent. Has no message: only the host's owner sets it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redaction {
    /// Sends the program's name alone, without arguments.
    pub hide_arguments: bool,
    /// More words that mark a name as that of a secret, such as `"pincode"`.
    pub keys: Vec<String>,
    /// More beginnings of secrets, such as `"acme_"`.
    pub prefixes: Vec<String>,
}

/// Samples on disk until they are acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// Most bytes; the oldest samples are dropped first and leave a gap record.
    pub max_bytes: Size,
    /// Oldest sample that is kept.
    pub max_age: Span,
}

/// Which transports are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// QUIC first, TLS over TCP when UDP does not get through.
    #[default]
    Auto,
    /// QUIC only.
    Quic,
    /// TLS over TCP only.
    Tcp,
}

/// The link to the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// Which transports are tried.
    pub transport: Transport,
    /// An attempt is given up after this long without a session.
    pub handshake_timeout: Span,
    /// A session is given up when something is unacknowledged and nothing was acknowledged for this long.
    pub ack_timeout: Span,
    /// On TCP, QUIC is tried again this often.
    pub quic_retry: Span,
    /// Longest wait between attempts, while the controller gave no reconnect window.
    pub max_backoff: Span,
}

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Paths {
    /// Key, certificate, spool: owned by the agent's user.
    pub state: PathBuf,
    /// CA certificate and host id: owned by root.
    pub trust: PathBuf,
    /// The owner's policy: owned by root.
    pub policy: PathBuf,
    /// Status of the running agent.
    pub runtime: PathBuf,
    /// The executor's socket. Where it does not exist, the host is monitored only.
    pub executor_socket: PathBuf,
}

/// Log lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: LogLevel,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// From which level on lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

const fn seconds(s: u64) -> Span {
    Span(Duration::from_secs(s))
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            interval: seconds(10),
            min_interval: seconds(1),
            max_interval: seconds(60),
            root: PathBuf::from("/"),
        }
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self { max_bytes: Size(256 << 20), max_age: seconds(7 * 86_400) }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self {
            transport: Transport::Auto,
            handshake_timeout: seconds(5),
            ack_timeout: seconds(5),
            quic_retry: seconds(600),
            max_backoff: seconds(60),
        }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            state: PathBuf::from("/var/lib/sysop-agent"),
            trust: PathBuf::from("/etc/sysop/trust"),
            policy: PathBuf::from("/etc/sysop/policy.toml"),
            runtime: PathBuf::from("/run/sysop"),
            executor_socket: PathBuf::from("/run/sysop/executor.sock"),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

impl Paths {
    /// The same paths below `root`, as if that were the root of the file system.
    #[must_use]
    pub fn below(&self, root: &Path) -> Self {
        let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        Self {
            state: below(&self.state),
            trust: below(&self.trust),
            policy: below(&self.policy),
            runtime: below(&self.runtime),
            executor_socket: below(&self.executor_socket),
        }
    }
}

impl Config {
    /// Settings of an agent that keeps everything below one directory and only monitors.
    #[must_use]
    pub fn in_directory(controller: &str, directory: &Path) -> Self {
        Self {
            controller: controller.to_owned(),
            paths: Paths {
                state: directory.join("state"),
                trust: directory.join("trust"),
                policy: directory.join("policy.toml"),
                runtime: directory.join("run"),
                executor_socket: directory.join("run/executor.sock"),
            },
            ..Self::default()
        }
    }

    /// Host and port of the controller; `None` when they do not have the form `HOST[:PORT]`.
    #[must_use]
    pub fn controller_address(&self) -> Option<(String, u16)> {
        split_address(&self.controller)
    }

    /// The first setting that is out of its bounds, and what is wrong with it.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let between = |key, value: Span, from: Span, to: Span| {
            let ok = (from..=to).contains(&value);
            (!ok).then(|| (key, format!("{value} is out of bounds; write a time from {from} to {to}")))
        };
        let (ms, day) = (Span(Duration::from_millis(1)), seconds(86_400));
        let sample = &self.sample;
        if !self.controller.is_empty() && self.controller_address().is_none() {
            let text = format!(
                "{:?} is no address; write HOST:PORT such as \"ops.example.org:8443\"",
                self.controller
            );
            return Some(("controller", text));
        }
        if !(64 << 10..=1 << 40).contains(&self.spool.max_bytes.0) {
            let text =
                format!("{} is out of bounds; write a size from 64KiB to 1024GiB", self.spool.max_bytes);
            return Some(("spool.max_bytes", text));
        }
        if let Some((key, value)) = self.host.labels.iter().find(|(k, v)| !is_label(k) || v.len() > 256) {
            let text = format!(
                "{key:?} = {value:?}: write keys of 1 to 64 letters, digits, _ - . and values of at most 256 bytes"
            );
            return Some(("host.labels", text));
        }
        if sample.min_interval > sample.max_interval {
            return Some((
                "sample.min_interval",
                "is above sample.max_interval; lower one or raise the other".into(),
            ));
        }
        None.or_else(|| between("sample.min_interval", sample.min_interval, seconds(1), seconds(60)))
            .or_else(|| between("sample.max_interval", sample.max_interval, seconds(1), seconds(60)))
            .or_else(|| between("sample.interval", sample.interval, sample.min_interval, sample.max_interval))
            .or_else(|| between("spool.max_age", self.spool.max_age, seconds(60), seconds(366 * 86_400)))
            .or_else(|| between("link.handshake_timeout", self.link.handshake_timeout, ms, seconds(60)))
            .or_else(|| between("link.ack_timeout", self.link.ack_timeout, ms, seconds(300)))
            .or_else(|| between("link.quic_retry", self.link.quic_retry, ms, day))
            .or_else(|| between("link.max_backoff", self.link.max_backoff, ms, seconds(3_600)))
    }
}

/// Host and port of `HOST[:PORT]`, with IPv6 addresses in brackets.
#[must_use]
pub fn split_address(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok().filter(|port| *port != 0))?;
    let plain =
        !host.is_empty() && host.len() <= 253 && !host.contains(|c: char| c.is_whitespace() || c == '/');
    plain.then(|| (host.to_owned(), port))
}

fn is_label(key: &str) -> bool {
    (1..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}
