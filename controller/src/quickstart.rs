//! An agent of this machine in the controller's own process, for monitoring only: it enrols and pushes
//! through the loopback like any other. The one place of the controller that may use the agent crate.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use sysop_agent::config::{Paths, Span};
use sysop_agent::identity::Identity as AgentIdentity;
use sysop_agent::{Config, EnrolError, Enrolment};
use sysop_common::ids::HostId;
use sysop_common::time::{MINUTE_MS, UnixMs};
use tokio::sync::oneshot;

use crate::identity::{Identity, IdentityError, NewToken};
use crate::store::{Db, StoreError, certificates, hosts};

/// The local agent cannot start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum QuickstartError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Files(#[from] sysop_agent::identity::IdentityError),
    #[error("no thread for it: {0}")]
    Thread(#[from] io::Error),
}

/// The running agent. It ends when this is dropped, and the drop waits for it.
#[derive(Debug)]
pub struct LocalAgent {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for LocalAgent {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What became of the agent that enrolled at an earlier start.
enum Past {
    /// There was none, or this store does not know it.
    New,
    /// It has a certificate that stands.
    Goes,
    /// Its certificate ended while nothing ran here.
    Expired(HostId),
    /// A person removed or revoked it.
    Barred,
}

async fn past(db: &Db, paths: &Paths, now: UnixMs) -> Result<Past, StoreError> {
    if !paths.trust.join("host_id").exists() {
        return Ok(Past::New);
    }
    // A damaged identity: the agent's own message names the file and what to do.
    let Ok(identity) = AgentIdentity::load(paths) else { return Ok(Past::Goes) };
    let host = match hosts::get(db, identity.host()).await {
        Err(StoreError::NotFound(_)) => return Ok(Past::New),
        found => found?,
    };
    let certificates = certificates::of_host(db, host.id).await?;
    let mut unrevoked = certificates.iter().filter(|certificate| certificate.revoked_at.is_none());
    Ok(match unrevoked.clone().count() {
        _ if host.removed_at.is_some() => Past::Barred,
        0 => Past::Barred,
        _ if unrevoked.any(|certificate| certificate.not_after > now) => Past::Goes,
        _ => Past::Expired(host.id),
    })
}

/// Enrols the agent of this machine, unless it is enrolled, and starts it on a thread of its own.
/// Its files are in `folder`; the policy there allows readings and nothing else. One whose certificate
/// ended while the controller was off comes back as the same host; `None` for one that a person barred.
///
/// # Errors
/// When it cannot be enrolled or no thread can be started.
pub async fn start(
    identity: &Identity,
    db: &Db,
    folder: &Path,
    controller: SocketAddr,
    interval: Duration,
    now: UnixMs,
) -> Result<Option<LocalAgent>, QuickstartError> {
    let config = settings(folder, controller, interval);
    let past = past(db, &config.paths, now).await?;
    if matches!(past, Past::Barred) {
        tracing::warn!(
            "this machine was removed or revoked, or its certificate ended long ago: its agent is not started. To take it in again, \
             delete {} and start the controller",
            folder.display()
        );
        return Ok(None);
    }
    if !matches!(past, Past::Goes) {
        let recovers = if let Past::Expired(host) = past { Some(host) } else { None };
        let token = NewToken { life_ms: MINUTE_MS, recovers, ..NewToken::single("this machine", "system") };
        AgentIdentity::remove(&config.paths)?;
        let token = identity.create_token(token, now).await?;
        let enrolment = Enrolment {
            config: config.clone(),
            token: token.text,
            ca: identity.ca_fingerprint(),
            name: String::new(),
            allow: Vec::new(),
            owner: None,
        };
        sysop_agent::enrol(enrolment).await?;
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let thread =
        std::thread::Builder::new().name("local-agent".to_owned()).spawn(move || serve(config, stopped))?;
    Ok(Some(LocalAgent { stop: Some(stop), thread: Some(thread) }))
}

fn serve(config: Config, stopped: oneshot::Receiver<()>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "the agent of this machine has no runtime"),
    };
    let shutdown = async {
        let _ = stopped.await;
    };
    if let Err(error) = runtime.block_on(sysop_agent::run(config, shutdown)) {
        tracing::error!(%error, "the agent of this machine ended");
    }
}

fn settings(folder: &Path, controller: SocketAddr, interval: Duration) -> Config {
    // A listener on every address is reached over the loopback one.
    let reach = match controller {
        SocketAddr::V4(at) if at.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], at.port())),
        SocketAddr::V6(at) if at.ip().is_unspecified() => {
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], at.port()))
        }
        at => at,
    };
    let mut config = Config { controller: reach.to_string(), ..Config::default() };
    config.sample.interval = Span(interval);
    config.paths = Paths {
        state: folder.join("state"),
        trust: folder.join("trust"),
        policy: folder.join("policy.toml"),
        runtime: folder.join("run"),
        // No executor belongs to this agent: nothing listens here.
        executor_socket: folder.join("run/executor.sock"),
    };
    config
}
