//! The wiring: opens the parts, joins the steps, and stops them in order.
//!
//! Read from top to bottom it is the way of the data: link, ingest, store, analyse, decide, dispatch,
//! and out over the link again; the dashboard beside them.

mod enroller;
mod folder;
mod greeting;
mod models;
mod readings;
mod steps;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{self, Config, Https};
use crate::identity::{Identity, IdentityError};
use crate::ingest::{self, Ingest};
use crate::link::ports::Ports;
use crate::link::{self, Link, LinkError, Registry};
use crate::store::presence::Presence;
use crate::store::samples::{self, SampleStore};
use crate::store::{Db, StoreError};
use crate::wake::Wakes;
use crate::web::auth::{FirstRun, Hasher, Setup, SetupError};
use crate::web::{self, AppState, Inputs};
use crate::{analyse, audit, decide, dispatch, probe, quickstart};

pub use folder::{FolderError, claim};
use steps::Steps;

/// How long the steps have to end, so that a stop takes less than a second. What is cut was not acknowledged,
/// so nothing that was received is lost.
const STOP_TIME: Duration = Duration::from_millis(700);

/// The controller cannot start. Each text says what to do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum StartError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(
        "cannot listen on {address} for the dashboard: {source}; free the port, or set another with --port or SYSOP_PORT"
    )]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("the dashboard's HTTPS cannot be set up: {0}")]
    Https(#[from] web::TlsError),
    #[error("the step {0} ended by a fault, as the log tells; nothing acknowledged is lost: start again")]
    Step(&'static str),
    #[error("the agent of this machine cannot start: {0}; SYSOP_AGENTS_LOCAL=off starts without it")]
    Quickstart(#[from] quickstart::QuickstartError),
}

/// What all steps share.
struct Parts {
    config: Config,
    clock: Clock,
    wakes: Wakes,
    db: Db,
    samples: SampleStore,
    identity: Identity,
    audit: Audit,
    presence: Presence,
    registry: Registry,
    opinions: analyse::model::adviser::Opinions,
    advisor: Arc<models::Advisor>,
}

/// Runs the controller until `stop` completes.
///
/// # Errors
/// When it cannot start. Once it runs, a step that fails says so and tries again; one that ends early,
/// which only a fault of ours can do, ends the controller, so that its supervisor starts it afresh.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let _folder = claim(&config.server.data_dir)?;
    let parts = Parts::open(config).await?;
    let (stopper, stopping) = watch::channel(false);
    let mut steps = Steps::default();

    let dashboard = listen(parts.config.server.listen).await?;
    let ingest = parts.ingest();
    let dispatch = parts.dispatch();
    let link = parts.link(&ingest, &dispatch).await?;
    let agents_at = link.address();
    steps.start("link", link.run(stopping.clone()));
    steps.start("ingest", {
        let stop = stopping.clone();
        async move { ingest.run(stop).await }
    });
    steps.start("samples", parts.samples.clone().maintain(stopping.clone()));
    steps.start("analyse", analyse::run(parts.analyse(), stopping.clone()));
    steps.start("model", {
        let (desk, advisor, stop) = (parts.model(), parts.advisor.clone(), stopping.clone());
        async move {
            analyse::model::desk::run(desk, stop).await;
            advisor.stop();
        }
    });
    let desk = parts.desk(&dashboard, agents_at);
    steps.start("probe", probe::run(parts.probe(desk.clone()), stopping.clone()));
    steps.start("decide", decide::run(parts.decide(), stopping.clone()));
    steps.start("dispatch", dispatch::run(dispatch, stopping.clone()));
    let (audit, db, key) = (parts.audit.clone(), parts.db.clone(), parts.identity.dispatch_key());
    steps.start("audit", audit::run(audit, db, key, stopping.clone()));
    let first_run = parts.dashboard(dashboard, agents_at, desk, &mut steps, stopping.clone()).await?;

    let local = parts.local_agent(agents_at).await?;
    parts.greet(agents_at, &first_run);
    let lost = tokio::select! {
        () = stop => None,
        step = steps.lost() => Some(step),
    };

    stopper.send_replace(true);
    drop(local);
    if !steps.end(STOP_TIME).await {
        tracing::warn!("some steps did not end in time and were cut; nothing acknowledged is lost");
    }
    parts.samples.close().await;
    parts.db.close().await;
    lost.map_or(Ok(()), |step| Err(StartError::Step(step)))
}

impl Parts {
    async fn open(config: Config) -> Result<Self, StartError> {
        let folder = &config.server.data_dir;
        let clock = Clock::system();
        let db = Db::open_control(folder).await?;
        let identity = Identity::open(&db, folder).await?;
        let audit = Audit::new(identity.controller(), clock.clone());
        let options = samples::Options {
            keep_ms: config.retention.samples_ms,
            compact_every_ms: config.retention.compact_every_ms,
            ..samples::Options::default()
        };
        let samples = SampleStore::open(folder, options).await?;
        let wakes = Wakes::default();
        let advisor =
            models::Advisor::open(config.model.clone(), (&db, &samples), (&audit, &wakes, &clock), &identity)
                .await?;
        Ok(Self {
            advisor,
            opinions: analyse::model::adviser::Opinions::default(),
            clock,
            wakes,
            db,
            samples,
            identity,
            audit,
            presence: Presence::default(),
            registry: Registry::default(),
            config,
        })
    }

    fn interval_ms(&self) -> u32 {
        u32::try_from(self.config.agents.interval_ms).unwrap_or(60_000)
    }

    fn ingest(&self) -> Ingest {
        let mut options = ingest::Options::new(self.identity.controller());
        options.interval_ms = self.interval_ms();
        let Self { db, samples, wakes, presence, clock, .. } = self;
        Ingest::new(db.clone(), samples.clone(), wakes.clone(), presence.clone(), clock.clone(), options)
    }

    fn analyse(&self) -> analyse::Ctx {
        analyse::Ctx {
            db: self.db.clone(),
            samples: self.samples.clone(),
            presence: self.presence.clone(),
            audit: self.audit.clone(),
            wakes: self.wakes.clone(),
            clock: self.clock.clone(),
            language: analyse::messages::Language::from_tag(&self.config.model.language),
            adviser: Some(Arc::new(self.opinions.clone())),
        }
    }

    fn model(&self) -> analyse::model::desk::Ctx {
        let retention = self.config.retention;
        analyse::model::desk::Ctx {
            db: self.db.clone(),
            samples: self.samples.clone(),
            audit: self.audit.clone(),
            wakes: self.wakes.clone(),
            clock: self.clock.clone(),
            stage: self.advisor.stage(),
            reader: Arc::new(models::OverLink(self.registry.clone())),
            opinions: self.opinions.clone(),
            keep: analyse::model::desk::Keep {
                texts_ms: retention.run_outputs_ms,
                records_ms: retention.records_ms,
            },
        }
    }

    /// Where people's wishes for probes come: asks nothing of the controller itself.
    fn desk(&self, dashboard: &TcpListener, agents_at: SocketAddr) -> probe::Desk {
        let dashboard = dashboard.local_addr().map_or(self.config.server.listen.port(), |at| at.port());
        let own_ports = vec![dashboard, agents_at.port()];
        let config::Probes { allow, deny } = self.config.probes.clone();
        let engine = probe::Engine::new(probe::Nets { allow, deny, own_ports });
        let Self { db, audit, wakes, clock, .. } = self;
        probe::Desk::new(db.clone(), audit.clone(), wakes.clone(), clock.clone(), engine)
    }

    fn probe(&self, desk: probe::Desk) -> probe::Ctx {
        let (samples, registry) = (self.samples.clone(), self.registry.clone());
        probe::Ctx { desk, samples, registry, analyse: self.analyse() }
    }

    fn decide(&self) -> decide::Ctx {
        decide::Ctx {
            db: self.db.clone(),
            samples: self.samples.clone(),
            audit: self.audit.clone(),
            wakes: self.wakes.clone(),
            clock: self.clock.clone(),
        }
    }

    fn dispatch(&self) -> dispatch::Ctx {
        dispatch::Ctx {
            db: self.db.clone(),
            audit: self.audit.clone(),
            wakes: self.wakes.clone(),
            clock: self.clock.clone(),
            route: Arc::new(self.registry.clone()),
            key: self.identity.dispatch_key(),
            samples: self.samples.clone(),
            keep: dispatch::Keep {
                outputs_ms: self.config.retention.run_outputs_ms,
                records_ms: self.config.retention.records_ms,
            },
        }
    }

    async fn link(&self, ingest: &Ingest, dispatch: &dispatch::Ctx) -> Result<Link, StartError> {
        let Self { identity, audit, db, wakes, clock, .. } = self;
        let ports = Ports {
            gate: Arc::new(ingest.clone()),
            results: Arc::new(dispatch::Results::new(dispatch.clone())),
            enroller: Arc::new(enroller::Audited::new(identity, audit, db, wakes, clock)),
            events: Arc::new(ingest.clone()),
            revoked: wakes.revoked.clone(),
        };
        let mut options = link::Options::new(self.config.agents.listen);
        options.interval_ms = self.interval_ms();
        let (tls, id) = (identity.server_config()?, identity.controller());
        Ok(Link::bind(options, tls, id, self.registry.clone(), ports, clock.clone()).await?)
    }

    /// Starts the dashboard and the API; tells whether somebody can log in yet.
    async fn dashboard(
        &self,
        listener: TcpListener,
        agents_at: SocketAddr,
        probes: probe::Desk,
        steps: &mut Steps,
        stop: watch::Receiver<bool>,
    ) -> Result<FirstRun, StartError> {
        let hasher = Hasher::default();
        let secret = self.config.auth.init_secret.as_ref();
        let (setup, first_run) =
            Setup::begin(&self.db, &self.audit, &hasher, secret, self.clock.now()).await?;
        let tls = self.https()?;
        let mut config = self.config.clone();
        config.agents.listen = agents_at;
        config.server.listen = listener.local_addr().unwrap_or(config.server.listen);
        let state = AppState::new(Inputs {
            db: self.db.clone(),
            samples: self.samples.clone(),
            presence: self.presence.clone(),
            audit: self.audit.clone(),
            identity: self.identity.clone(),
            readings: Arc::new(readings::OverLink(self.registry.clone())),
            models: self.advisor.clone(),
            probes,
            wakes: self.wakes.clone(),
            config,
            setup,
            hasher,
            clock: self.clock.clone(),
            stop: stop.clone(),
            parts: steps.parts(),
        });
        steps.start("dashboard", async move {
            if let Err(error) = web::serve(state, listener, tls, stop).await {
                tracing::error!(%error, "the dashboard ended");
            }
        });
        Ok(first_run)
    }

    fn https(&self) -> Result<Option<Arc<ServerConfig>>, StartError> {
        match &self.config.server.https {
            Https::Off => Ok(None),
            Https::Files { certificate, key } => Ok(Some(web::tls_from_files(certificate, key)?)),
            Https::Own => {
                let names = self.config.server.hosts.clone();
                let (chain, key) = self.identity.web_certificate(&names, self.config.server.listen.ip())?;
                Ok(Some(web::tls_config(chain, key)?))
            }
        }
    }

    async fn local_agent(&self, agents_at: SocketAddr) -> Result<Option<quickstart::LocalAgent>, StartError> {
        if !self.config.agents.local {
            return Ok(None);
        }
        let folder = self.config.server.data_dir.join("agent");
        let interval = Duration::from_millis(u64::from(self.interval_ms()));
        let now = self.clock.now();
        Ok(quickstart::start(&self.identity, &self.db, &folder, agents_at, interval, now).await?)
    }

    fn greet(&self, agents_at: SocketAddr, first_run: &FirstRun) {
        greeting::print(&self.config, agents_at, first_run, &self.identity.ca_fingerprint());
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}
