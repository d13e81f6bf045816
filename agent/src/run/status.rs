//! How the agent is, in a small file for `sysop-agent status`.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sysop_common::ids::{Epoch, HostId};
use sysop_common::time::UnixMs;
use tokio::sync::watch;
use tokio::time::Instant;

use super::notify::Notifier;
use super::sampling::Pulse;
use crate::config::Config;
use crate::identity::{Identity, files};
use crate::link;
use crate::spool::Spool;

/// Acknowledgements are written at most this often; what people wait for, the session, at once.
const PAUSE: Duration = Duration::from_secs(4);
/// The file is written at least this often: its age tells that the agent lives. Longer than the usual
/// interval, so that as a rule a look's acknowledgement is what has it written, once.
const REFRESH: Duration = Duration::from_secs(12);
/// A file that is older than this was left by an agent that is gone.
pub const STALE_MS: i64 = 30_000;
/// Most bytes of the file.
const MAX_REPORT: u64 = 64 * 1024;
/// Without a sample for this long the watchdog is not fed: longer than the longest interval.
const LONGEST_SILENCE: Duration = Duration::from_secs(150);

/// How the agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When this was written.
    pub at: UnixMs,
    /// The agent's process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The host.
    pub host: HostId,
    /// Its epoch.
    pub epoch: String,
    /// The controller's address.
    pub controller: String,
    /// How the link is.
    pub link: link::Status,
    /// Bytes in the spool.
    pub spool_bytes: u64,
    /// Samples that are not acknowledged.
    pub unacked: u64,
    /// Those of them that are in memory only.
    pub pending: u64,
    /// Gaps that are not acknowledged.
    pub gaps: u64,
    /// What is wrong with the spool's disk.
    pub spool_problem: Option<String>,
    /// Samples taken since the start.
    pub samples: u64,
    /// When the certificate ends.
    pub certificate_expires: UnixMs,
}

impl Report {
    /// Whether the agent that wrote this is there: its process is, and it wrote lately.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let now = UnixMs::from_system(SystemTime::now());
        now.since(self.at).abs() < STALE_MS && PathBuf::from(format!("/proc/{}", self.pid)).exists()
    }
}

/// When the certificate ends; renewals change it.
#[derive(Clone)]
pub(super) struct Expiry(Arc<Mutex<UnixMs>>);

impl Expiry {
    pub(super) fn set(&self, expires: UnixMs) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = expires;
    }

    fn get(&self) -> UnixMs {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What does not change while the agent runs.
pub(super) struct Facts {
    path: PathBuf,
    host: HostId,
    epoch: Epoch,
    controller: String,
    pub(super) certificate: Expiry,
}

impl Facts {
    pub(super) fn of(config: &Config, identity: &Identity, spool: &Spool) -> Self {
        Self {
            path: path(config),
            host: identity.host(),
            epoch: spool.epoch(),
            controller: config.controller.clone(),
            certificate: Expiry(Arc::new(Mutex::new(identity.facts().to))),
        }
    }
}

/// Where the file is.
#[must_use]
pub fn path(config: &Config) -> PathBuf {
    config.paths.runtime.join("agent.json")
}

/// The last report, if there is one that can be read. The agent's user writes it and root reads it: what
/// is no regular file, or a large one, is none.
#[must_use]
pub fn read(config: &Config) -> Option<Report> {
    let no_wait = i32::try_from((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits()).unwrap_or_default();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(no_wait).open(path(config)).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_REPORT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

pub(super) fn remove(config: &Config) {
    let _ = files::remove(&path(config));
}

/// Keeps the file up to date, and the service manager assured, for as long as samples are taken.
pub(super) async fn tell(
    facts: Facts,
    mut link: watch::Receiver<link::Status>,
    spool: Spool,
    pulse: Pulse,
    notifier: &Notifier,
) {
    let period = notifier.watchdog().map_or(REFRESH, |watchdog| watchdog.min(REFRESH));
    let (mut seen, mut moved, mut failed) = (0, Instant::now(), false);
    let (mut transport, mut written, mut waiting) = (None, None::<Instant>, false);
    loop {
        let due = written.map_or_else(Instant::now, |at| at + if waiting { PAUSE } else { period });
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            changed = link.changed() => {
                if changed.is_err() {
                    return std::future::pending().await;
                }
                let now = link.borrow_and_update().transport.clone();
                let same = std::mem::replace(&mut transport, now) == transport;
                if same && written.is_some_and(|at| at.elapsed() < PAUSE) {
                    waiting = true;
                    continue;
                }
            }
        }
        if pulse.count() != seen {
            (seen, moved) = (pulse.count(), Instant::now());
        }
        if moved.elapsed() < LONGEST_SILENCE {
            notifier.alive();
        }
        let done = write(&facts, &report(&facts, &link.borrow().clone(), &spool, seen));
        if let (Err(e), false) = (&done, failed) {
            tracing::warn!(file = %facts.path.display(), error = %e, "status cannot be written");
        }
        (failed, written, waiting) = (done.is_err(), Some(Instant::now()), false);
    }
}

fn report(facts: &Facts, link: &link::Status, spool: &Spool, samples: u64) -> Report {
    let depth = spool.depth();
    Report {
        at: UnixMs::from_system(SystemTime::now()),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: facts.host,
        epoch: facts.epoch.to_string(),
        controller: facts.controller.clone(),
        link: link.clone(),
        spool_bytes: depth.bytes,
        unacked: depth.unacked,
        pending: depth.pending,
        gaps: depth.gaps,
        spool_problem: depth.problem,
        samples,
        certificate_expires: facts.certificate.get(),
    }
}

fn write(facts: &Facts, report: &Report) -> std::io::Result<()> {
    let text = serde_json::to_vec(report).map_err(std::io::Error::other)?;
    if let Some(directory) = facts.path.parent() {
        files::directory(directory, 0o755, None)?;
    }
    files::write_lightly(&facts.path, &text, 0o644)
}
