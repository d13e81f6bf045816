//! What a host does beside sampling: says what it is, hands orders to the executor, answers readings,
//! renews its certificate.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sysop_common::action::CATALOGUE;
use sysop_common::grant::Grants;
use sysop_common::probe::ProbeList;
use sysop_common::query::Answer;
use sysop_common::time::UnixMs;
use sysop_common::wire::{Inventory, QueryRequest};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::status::Expiry;
use crate::config::Config;
use crate::executor::{self, Client};
use crate::guard::{Policy, PolicyError};
use crate::identity::{HostKey, Identity};
use crate::link::{Ask, Report};
use crate::sample::Sampler;
use crate::{query, run};

/// Readings at a time.
const READINGS: usize = 2;
/// What changes seldom is looked at this often: policy, certificate.
const LOOK: Duration = Duration::from_secs(60);
/// Facts about the host are gathered anew this often.
const GATHER: Duration = Duration::from_secs(600);
/// A renewal that was not answered is asked for again after this long.
const RENEW_AGAIN: Duration = Duration::from_secs(3_600);

/// The host's duties.
pub(super) struct Duties {
    config: Config,
    identity: Identity,
    executor: Client,
    reports: mpsc::Sender<Report>,
    probes: watch::Sender<ProbeList>,
    work: JoinSet<Done>,
    readings: usize,
    open: bool,
    announced: Option<Inventory>,
    gathering: bool,
    gathered: Option<Instant>,
    /// The key of a renewal that is asked for.
    renewal: Option<(HostKey, Instant)>,
}

/// What was done beside.
enum Done {
    Reading(Answer),
    Inventory(Box<Inventory>),
}

impl Duties {
    pub(super) fn new(
        config: Config,
        identity: Identity,
        executor: Client,
        reports: mpsc::Sender<Report>,
        probes: watch::Sender<ProbeList>,
    ) -> Self {
        Self {
            config,
            identity,
            executor,
            reports,
            probes,
            work: JoinSet::new(),
            readings: 0,
            open: false,
            announced: None,
            gathering: false,
            gathered: None,
            renewal: None,
        }
    }

    /// Does them until the link or the executor's client ends.
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut results: mpsc::Receiver<executor::Report>,
        expiry: Expiry,
    ) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // At its start the executor may have something to tell of a crash.
        let _ = self.executor.poke().await;
        loop {
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(ask) => self.answer(ask, &expiry).await,
                    None => return,
                },
                result = results.recv() => match result {
                    Some(executor::Report::Event(event)) => self.report(Report::Event(event)).await,
                    Some(executor::Report::Output(chunk)) => self.report(Report::Output(chunk)).await,
                    None => return,
                },
                Some(done) = self.work.join_next() => self.done(done).await,
                _ = looks.tick() => self.look().await,
            }
        }
    }

    async fn report(&self, report: Report) {
        // The link is gone: the agent stops.
        let _ = self.reports.send(report).await;
    }

    async fn answer(&mut self, ask: Ask, expiry: &Expiry) {
        let passed = match ask {
            Ask::Opened => {
                (self.open, self.announced) = (true, None);
                self.gather();
                self.renew().await;
                self.executor.poke().await
            }
            Ask::EventsAgain => self.executor.poke().await,
            Ask::Order(order) => self.executor.submit(&order).await,
            Ask::Cancel(order) => self.executor.cancel(order).await,
            Ask::EventStored(order, number) => self.executor.acknowledge(order, number).await,
            Ask::Probes(list) => {
                self.probes.send_replace(list);
                Ok(())
            }
            Ask::Query(request) => {
                self.read(request).await;
                Ok(())
            }
            Ask::Renewed(certificate) => {
                self.renewed(&certificate, expiry).await;
                Ok(())
            }
        };
        if let Err(e) = passed {
            tracing::error!(error = %e, "a request of the controller was not passed on");
        }
    }

    async fn read(&mut self, request: QueryRequest) {
        if self.readings == READINGS {
            let result = Err("this host is answering other readings; ask again in a moment".to_owned());
            return self.report(Report::Answer(Answer { id: request.id, result })).await;
        }
        self.readings += 1;
        let (policy, roots) = (self.config.paths.policy.clone(), run::roots(&self.config));
        let options = run::look(&self.config);
        self.work.spawn_blocking(move || Done::Reading(query::answer(&policy, &roots, &options, &request)));
    }

    async fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Reading(answer)) => {
                self.readings -= 1;
                self.report(Report::Answer(answer)).await;
            }
            Ok(Done::Inventory(inventory)) => {
                (self.gathering, self.gathered) = (false, Some(Instant::now()));
                if self.open && self.announced.as_ref() != Some(&inventory) {
                    self.announced = Some(Inventory::clone(&inventory));
                    self.report(Report::Inventory(inventory)).await;
                }
            }
            Err(e) => {
                (self.readings, self.gathering) = (0, false);
                tracing::error!(error = %e, "a look at the host failed");
            }
        }
    }

    async fn look(&mut self) {
        if !self.open {
            return;
        }
        let due = self.gathered.is_none_or(|at| at.elapsed() >= GATHER);
        let policy = self.announced.as_ref().map(|inventory| inventory.grants.digest);
        if due || policy.is_some_and(|digest| digest != grants(&self.config).0.digest) {
            self.gather();
        }
        self.renew().await;
    }

    /// Gathers what the host is, on a thread of its own.
    fn gather(&mut self) {
        if !std::mem::replace(&mut self.gathering, true) {
            let config = self.config.clone();
            self.work.spawn_blocking(move || Done::Inventory(Box::new(inventory(&config))));
        }
    }

    /// Asks for a new certificate when two thirds of this one's life are over.
    async fn renew(&mut self) {
        let now = UnixMs::from_system(SystemTime::now());
        let asked = self.renewal.as_ref().is_some_and(|(_, at)| at.elapsed() < RENEW_AGAIN);
        if asked || now < self.identity.facts().renew_at() {
            return;
        }
        match HostKey::generate().and_then(|key| Ok((key.request()?, key))) {
            Ok((csr, key)) => {
                tracing::info!("ask for a new certificate");
                self.renewal = Some((key, Instant::now()));
                self.report(Report::Renew(csr)).await;
            }
            Err(e) => tracing::error!(error = %e, "no key for a new certificate"),
        }
    }

    async fn renewed(&mut self, certificate: &[u8], expiry: &Expiry) {
        let Some((key, _)) = self.renewal.take() else {
            tracing::warn!("a certificate came that was not asked for");
            return;
        };
        let new = self.identity.renewed(&self.config.paths, key, certificate);
        match new.and_then(|new| Ok((Arc::new(new.tls()?), new))) {
            Ok((tls, new)) => {
                tracing::info!("certificate renewed");
                expiry.set(new.facts().to);
                self.identity = new;
                self.report(Report::Identity(tls)).await;
            }
            Err(e) => {
                tracing::error!(error = %e, "the new certificate is not taken; the old one stays in use")
            }
        }
    }
}

/// What the owner allows, as announced, and why the policy cannot be used.
fn grants(config: &Config) -> (Grants, Option<PolicyError>) {
    let path = &config.paths.policy;
    let (policy, problem) = match Policy::load(path) {
        Ok(policy) => (policy, None),
        Err(e) => (Policy::none(path), Some(e)),
    };
    (policy.grants(Client::is_installed(&config.paths.executor_socket)), problem)
}

fn inventory(config: &Config) -> Inventory {
    let mut inventory = Sampler::new(run::roots(config), run::look(config)).inventory();
    if !config.host.name.is_empty() {
        inventory.hostname = config.host.name.clone();
    }
    let label = |(key, value): (&String, &String)| (format!("host.{key}"), value.clone());
    inventory.labels = config.host.labels.iter().map(label).collect();
    inventory.catalogue = CATALOGUE.iter().map(|entry| (entry.name.to_owned(), entry.version)).collect();
    let (grants, problem) = grants(config);
    if let Some(e) = problem {
        tracing::warn!(error = %e, "policy cannot be used; nothing is allowed");
    }
    inventory.grants = grants;
    inventory
}
