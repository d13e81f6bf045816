//! What every handler can reach.

use std::ops::Deref;
use std::sync::Arc;

use sysop_common::time::UnixMs;
use tokio::sync::watch;

use super::api::health::Parts;
use super::auth::{Hasher, Principal, Setup, Throttle};
use super::flash::Flash;
use super::limits::Counter;
use super::models::Models;
use super::readings::Readings;
use super::widgets::State;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{Agents, Auth, Config, Environment, Retention, Server};
use crate::decide;
use crate::identity::Identity;
use crate::probe::Desk;
use crate::store::Db;
use crate::store::presence::Presence;
use crate::store::samples::SampleStore;
use crate::wake::{Signal, Wakes};

/// What the wiring hands in.
pub struct Inputs {
    /// Control data.
    pub db: Db,
    /// Samples.
    pub samples: SampleStore,
    /// Which hosts are connected.
    pub presence: Presence,
    /// The audit chain.
    pub audit: Audit,
    /// The CA: makes enrolment tokens, revokes.
    pub identity: Identity,
    /// Asks hosts.
    pub readings: Arc<dyn Readings>,
    /// Knows the model.
    pub models: Arc<dyn Models>,
    /// Where wishes for probes come.
    pub probes: Desk,
    /// Signals between the steps.
    pub wakes: Wakes,
    /// All settings; the dashboard takes its part.
    pub config: Config,
    /// The first account's state, from [`Setup::begin`].
    pub setup: Setup,
    /// The place where passwords are hashed, shared with [`Setup::begin`].
    pub hasher: Hasher,
    /// The clock.
    pub clock: Clock,
    /// Turns true when the controller stops: streams end.
    pub stop: watch::Receiver<bool>,
    /// Tells how the controller's parts are.
    pub parts: Parts,
}

/// What every handler can reach. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

/// The inside of [`AppState`].
pub struct Inner {
    /// Control data.
    pub db: Db,
    /// Samples.
    pub samples: SampleStore,
    /// Which hosts are connected.
    pub presence: Presence,
    /// The audit chain.
    pub audit: Audit,
    /// The CA: makes enrolment tokens, revokes.
    pub identity: Identity,
    /// Asks hosts.
    pub readings: Arc<dyn Readings>,
    /// Knows the model.
    pub models: Arc<dyn Models>,
    /// Where wishes for probes come.
    pub probes: Desk,
    /// Signals between the steps.
    pub wakes: Wakes,
    /// `[server]`.
    pub server: Server,
    /// `[agents]`.
    pub agents: Agents,
    /// `[auth]`.
    pub auth: Auth,
    /// `[retention]`.
    pub retention: Retention,
    /// The first account's state.
    pub setup: Setup,
    /// Where passwords are hashed.
    pub hasher: Hasher,
    /// Limits on sign-in.
    pub throttle: Throttle,
    /// What people just did, for their next page.
    pub flash: Flash,
    /// A session or token ended: streams look whether it was theirs.
    pub ended: Signal,
    /// Requests that are being answered.
    pub requests: Counter,
    /// Requests at a time of those who are not signed in.
    pub strangers: Counter,
    /// Streams that are open.
    pub streams: Counter,
    /// Turns true when the controller stops.
    pub stop: watch::Receiver<bool>,
    /// Tells how the controller's parts are.
    pub parts: Parts,
    clock: Clock,
}

impl AppState {
    /// Puts the state together.
    #[must_use]
    pub fn new(inputs: Inputs) -> Self {
        let Inputs {
            db,
            samples,
            presence,
            audit,
            identity,
            readings,
            models,
            probes,
            wakes,
            config,
            setup,
            hasher,
            clock,
            stop,
            parts,
        } = inputs;
        Self(Arc::new(Inner {
            db,
            samples,
            presence,
            audit,
            identity,
            readings,
            models,
            probes,
            wakes,
            server: config.server,
            agents: config.agents,
            auth: config.auth,
            retention: config.retention,
            setup,
            hasher,
            throttle: Throttle::default(),
            flash: Flash::default(),
            ended: Signal::default(),
            requests: Counter::of_requests(),
            strangers: Counter::of_strangers(),
            streams: Counter::of_streams(),
            stop,
            parts,
            clock,
        }))
    }
}

impl Inner {
    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// Tells the person on its next page what was just done.
    pub fn say(&self, principal: &Principal, state: State, words: impl Into<String>) {
        self.flash.say(principal, self.now(), state, words);
    }

    /// What the deciding step works with, for what people do.
    #[must_use]
    pub fn decide(&self) -> decide::Ctx {
        decide::Ctx {
            db: self.db.clone(),
            samples: self.samples.clone(),
            audit: self.audit.clone(),
            wakes: self.wakes.clone(),
            clock: self.clock.clone(),
        }
    }

    /// Whether cookies go over HTTPS only: always in production, and where the browser speaks HTTPS.
    #[must_use]
    pub fn secure(&self, https: bool) -> bool {
        https || self.server.environment == Environment::Production
    }
}

impl Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
