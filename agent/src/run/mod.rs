//! The collector, wired: `sample → spool → link`, and beside it what the controller asks of the host.

mod duties;
pub mod notify;
mod sampling;
pub mod status;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use sysop_common::probe::ProbeList;
use sysop_common::time::UnixMs;
use tokio::sync::{mpsc, watch};

use crate::config::{Config, ConfigError};
use crate::executor;
use crate::identity::{Identity, IdentityError};
use crate::link::dial::Target;
use crate::link::{Ends, Link, Settings, Status};
use crate::probe::host::Prober;
use crate::sample::{Options, ProbeBoard, Roots, Sampler};
use crate::spool::{self, Spool, SpoolError};
use duties::Duties;
use notify::Notifier;
use sampling::Sampling;

/// Requests and reports that wait between the link and the host's duties.
const QUEUE: usize = 32;

/// The agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The host has no usable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}; raise TasksMax or the limit of processes")]
    Thread(std::io::Error),
}

/// Runs the collector with these settings until `shutdown` is ready, then ends within a second. Keeps no
/// state outside what the settings name, so any number can run in one process.
///
/// # Errors
/// When it cannot start. Once it runs, only `shutdown` ends it.
pub async fn run(config: Config, shutdown: impl Future<Output = ()> + Send) -> Result<(), RunError> {
    run_notifying(config, Notifier::none(), shutdown).await
}

/// As [`run`], and tells the service manager.
///
/// # Errors
/// See [`run`].
pub async fn run_notifying(
    config: Config,
    notifier: Notifier,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let identity = Identity::take_up(&config.paths)?;
    let address = match (config.controller_address(), config.problem()) {
        (Some(address), None) => address,
        (_, problem) => return Err(wrong(problem).into()),
    };
    let tls = Arc::new(identity.tls()?);
    let now = UnixMs::from_system(SystemTime::now());
    let directory = config.paths.state.join("spool");
    let (spool, writer) = open_spool(&directory, &identity, &config, now).await?;
    tracing::info!(host = %identity.host(), epoch = %spool.epoch(), controller = config.controller, "agent starts");

    // sample -> spool
    let (interval, interval_seen) = watch::channel(config.sample.interval.0);
    let writing = sampling::thread("sysop-spool", move || writer.run()).map_err(RunError::Thread)?;
    let board = ProbeBoard::default();
    let mut sampler = Sampler::new(roots(&config), look(&config));
    sampler.show_probes(board.clone());
    let sampling =
        Sampling::start(sampler, spool.clone(), config.sample.interval.0).map_err(RunError::Thread)?;
    let threads = Threads { spool: spool.clone(), sampling, writing: Some(writing) };

    // spool -> link, link <-> duties <-> executor
    let (asks, asked) = mpsc::channel(QUEUE);
    let (report, reports) = mpsc::channel(QUEUE);
    let (status, status_seen) = watch::channel(Status::default());
    let (stop, stopped) = watch::channel(false);
    let settings = Settings {
        link: config.link.clone(),
        interval: (config.sample.min_interval.0, config.sample.max_interval.0),
        boot_id: sampling::boot_id(&config.sample.root),
    };
    let ends = Ends { asks, reports, interval, status, stop: stopped };
    let link = Link::new(Target { address, tls }, settings, spool.clone(), ends);
    let (executed, results) = mpsc::channel(QUEUE);
    let executor = executor::Client::start(config.paths.executor_socket.clone(), executed);
    let facts = status::Facts::of(&config, &identity, &spool);
    let (probes, lists) = watch::channel(ProbeList::default());
    let prober = Prober::new(config.paths.policy.clone(), board);
    let duties = Duties::new(config.clone(), identity, executor, report, probes);

    notifier.ready();
    // The link's future holds its buffers.
    let mut link = Box::pin(link.run());
    let duties = duties.run(asked, results, facts.certificate.clone());
    let watching = threads.sampling.follow(interval_seen);
    let telling = status::tell(facts, status_seen, spool.clone(), threads.sampling.pulse(), &notifier);
    // Ends with the duties, which hold the other end.
    let probing = prober.run(lists);
    let mut shutdown = std::pin::pin!(shutdown);
    let link_ended = tokio::select! {
        () = &mut shutdown => false,
        () = &mut link => true,
        () = duties => false,
        () = watching => false,
        () = telling => false,
        () = probing => false,
    };
    tracing::info!("agent stops");
    notifier.stopping();
    stop.send_replace(true);
    if !link_ended {
        link.await;
    }
    threads.end().await;
    status::remove(&config);
    Ok(())
}

/// Opens the spool; one that was killed a moment ago may still hold it.
async fn open_spool(
    directory: &std::path::Path,
    identity: &Identity,
    config: &Config,
    now: UnixMs,
) -> Result<(Spool, spool::Writer), SpoolError> {
    let mut tries = 20;
    loop {
        match Spool::open(directory, identity.host(), spool_options(config), now) {
            Err(SpoolError::Locked(_)) if tries > 0 => {
                tries -= 1;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            opened => return opened,
        }
    }
}

fn wrong(problem: Option<(&'static str, String)>) -> ConfigError {
    let missing = "is not set; run `sysop-agent enroll`, which writes it";
    let (key, problem) = problem.unwrap_or(("controller", missing.to_owned()));
    ConfigError::Wrong { place: "settings".to_owned(), key: key.to_owned(), problem }
}

/// Where the observed host's files are.
#[must_use]
pub fn roots(config: &Config) -> Roots {
    Roots::below(&config.sample.root)
}

/// How the host is looked at: with the owner's rules of redaction.
#[must_use]
pub fn look(config: &Config) -> Options {
    Options { redaction: config.redaction.clone() }
}

fn spool_options(config: &Config) -> spool::Options {
    spool::Options {
        max_bytes: config.spool.max_bytes.0,
        max_age: config.spool.max_age.0,
        // A restart between two samples is no gap.
        silence: config.sample.interval.0 * 2 + std::time::Duration::from_secs(2),
    }
}

/// The threads that sample and write. They end with the future that runs them, however that ends.
struct Threads {
    spool: Spool,
    sampling: Sampling,
    writing: Option<std::thread::JoinHandle<()>>,
}

impl Threads {
    /// Ends them; what was sampled is on disk afterwards, unless the disk hangs.
    async fn end(mut self) {
        self.sampling.stop();
        self.spool.close();
        let Some(writing) = self.writing.take() else { return };
        for _ in 0..50 {
            if writing.is_finished() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        tracing::warn!("the disk does not answer; the newest samples may be lost");
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.sampling.stop();
        self.spool.close();
    }
}
