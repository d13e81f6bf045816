//! Asks the model: one turn after another by severity, within the server's limits, again where that
//! makes sense, never longer than the deadline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use sysop_common::ids::sha256;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::config::{Model, ServerKind};

use super::ask::{Answer, Ask, AskRequest, Asking, Purpose};
use super::breaker::Breaker;
use super::bucket::Buckets;
use super::error::{AskError, Phase};
use super::fault::{Again, Fault};
use super::flight::Flights;
use super::pace::Pace;
use super::profile::{Profile, guess};
use super::queue::Queue;
use super::transport::Transport;
use super::{SetUpError, reply, request, retry};

/// The model's server, as this controller knows it. Clones are the same client.
#[derive(Clone)]
pub struct ModelClient(Arc<Inner>);

struct Inner {
    model: Model,
    pace: Pace,
    transport: Transport,
    profile: Mutex<Profile>,
    breaker: Mutex<Breaker>,
    buckets: Arc<Mutex<Buckets>>,
    queue: Queue,
    flights: Flights,
}

/// How the client is doing, for pages and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The server is left alone after repeated failures.
    pub breaker_open: bool,
    /// Questions that wait for their turn.
    pub waiting: usize,
    /// How long the server wants to be left alone.
    pub held: Duration,
    /// How it is spoken to.
    pub profile: Profile,
}

impl ModelClient {
    /// A client by the settings, with the profile that the kind of server is known for.
    ///
    /// # Errors
    /// When HTTPS cannot be set up; says what to do.
    pub fn new(model: &Model, clock: Clock) -> Result<Self, SetUpError> {
        Self::with_pace(model, clock, Pace::new(model.timeouts))
    }

    /// As [`ModelClient::new`], with seconds of another length: for tests.
    ///
    /// # Errors
    /// As [`ModelClient::new`].
    pub fn with_pace(model: &Model, clock: Clock, pace: Pace) -> Result<Self, SetUpError> {
        let kind = guess(model);
        let buckets = Arc::new(Mutex::new(Buckets::new(&model.limits, Instant::now())));
        let client = Self(Arc::new(Inner {
            pace,
            transport: Transport::new(model, kind, pace, clock, buckets.clone())?,
            profile: Mutex::new(Profile::of(kind.unwrap_or(ServerKind::Generic))),
            breaker: Mutex::default(),
            buckets,
            queue: Queue::new(model.limits.concurrency),
            flights: Flights::default(),
            model: model.clone(),
        }));
        client.set_profile(client.profile());
        Ok(client)
    }

    /// How the server is spoken to.
    #[must_use]
    pub fn profile(&self) -> Profile {
        lock(&self.0.profile).clone()
    }

    /// Takes over what was found out by probing.
    pub fn set_profile(&self, profile: Profile) {
        self.0.transport.set_patient(profile.is_own_hardware());
        *lock(&self.0.profile) = profile;
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Model {
        &self.0.model
    }

    /// How long a question may take, by its purpose.
    #[must_use]
    pub fn deadline(&self, purpose: Purpose) -> Duration {
        self.0.pace.deadline(purpose)
    }

    /// How it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        State {
            breaker_open: lock(&self.0.breaker).is_open(),
            waiting: self.0.queue.waiting(),
            held: lock(&self.0.buckets).held(Instant::now()),
            profile: self.profile(),
        }
    }

    /// Asks, and waits for the answer until the deadline. Identical questions under way are sent once.
    ///
    /// # Errors
    /// Says what the asker does next, and what an operator can do.
    pub async fn ask(&self, request: AskRequest) -> Result<Answer, AskError> {
        if !self.0.model.enabled() {
            return Err(AskError::NotSetUp);
        }
        // The server would cut it silently, and the answer would be about the rest.
        if !request::fits(&lock(&self.0.profile), &request) {
            return Err(AskError::PromptTooLong);
        }
        let deadline = request.deadline.unwrap_or_else(|| self.deadline(request.purpose));
        let until = Instant::now() + deadline;
        let key = flight_key(&request);
        let inner = self.0.clone();
        let outcome = self.0.flights.join(key, || Box::pin(async move { inner.run(request, until).await }));
        // Whoever joined may be in more of a hurry than whoever began.
        match timeout_at(until, outcome).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AskError::Timeout { phase: Phase::Answer }),
        }
    }

    /// The list of models, as the server gives it.
    pub(super) async fn models(&self) -> Result<Value, AskError> {
        let list = tokio::time::timeout(self.deadline(Purpose::Triage), self.0.transport.models()).await;
        match list {
            Ok(list) => list.map_err(|fault| fault.error),
            Err(_) => Err(AskError::Timeout { phase: Phase::Answer }),
        }
    }

    /// One request under a profile of its own and without repeats: for probing.
    pub(super) async fn probe_with(&self, profile: &Profile, request: &AskRequest) -> Result<Answer, Fault> {
        let started = Instant::now();
        let until = started + self.deadline(Purpose::Probe);
        let body = request::body(profile, &self.0.model.name, request);
        let sent = body.to_string().len();
        let value = timeout_at(until, self.0.transport.chat(&body))
            .await
            .map_err(|_| Fault::new(AskError::Timeout { phase: Phase::Answer }, Again::Never))??;
        let reply = reply::read(&value, sent).map_err(|error| Fault::new(error, Again::Never))?;
        Ok(self.0.answer(reply, started, 1))
    }
}

impl Ask for ModelClient {
    fn ask(&self, request: AskRequest) -> Asking<'_> {
        Box::pin(ModelClient::ask(self, request))
    }
}

impl Inner {
    async fn run(&self, request: AskRequest, until: Instant) -> Result<Answer, AskError> {
        let started = Instant::now();
        lock(&self.breaker)
            .admit(&self.pace, started)
            .map_err(|retry_in| AskError::BreakerOpen { retry_in: self.pace.unscaled(retry_in) })?;
        let late = |phase| move |_| AskError::Timeout { phase };
        let turn = timeout_at(until, self.queue.enter(request.severity));
        let _place = turn.await.map_err(late(Phase::Queue))??;
        let mut downgraded = false;
        let mut tried = 0;
        loop {
            let body = request::body(&lock(&self.profile), &self.model.name, &request);
            let sent = body.to_string().len();
            let reckoned = reply::reckon(&request, sent);
            self.wait_for_allowance(reckoned, until).await?;
            tried += 1;
            let fault = match timeout_at(until, self.transport.chat(&body)).await {
                Ok(Ok(value)) => return self.judge(&value, sent, reckoned, started, tried),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::new(AskError::Timeout { phase: Phase::Answer }, Again::Never),
            };
            if fault.is_ill() && lock(&self.breaker).ill(&self.pace, Instant::now()) {
                tracing::warn!(error = %fault.error, "the model's server is left alone for a while");
            }
            if let Again::With(what) = fault.again
                && !std::mem::replace(&mut downgraded, true)
                && lock(&self.profile).downgrade(what)
            {
                tracing::info!(error = %fault.error, "the model's server turned a field down; going without");
                continue;
            }
            match self.pause(tried, fault.again, until) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(self.give_up(fault)),
            }
        }
    }

    fn judge(
        &self,
        value: &Value,
        sent: usize,
        reckoned: u64,
        started: Instant,
        tried: u32,
    ) -> Result<Answer, AskError> {
        lock(&self.breaker).well();
        let reply = reply::read(value, sent);
        let usage = match &reply {
            Ok(reply) => Some(reply.usage),
            Err(error) => error.usage(),
        };
        if let Some(usage) = usage {
            lock(&self.buckets).settle(reckoned, usage.total());
        }
        Ok(self.answer(reply?, started, tried))
    }

    fn answer(&self, reply: reply::Reply, started: Instant, tries: u32) -> Answer {
        let latency = started.elapsed().as_millis();
        Answer {
            text: reply.text,
            usage: reply.usage,
            model: reply.model.unwrap_or_else(|| self.model.name.clone()),
            finish: reply.finish,
            latency_ms: u64::try_from(latency).unwrap_or(u64::MAX),
            tries,
            shared: false,
        }
    }

    /// Waits for the limits of the minute; gives up at once where that would take too long.
    async fn wait_for_allowance(&self, tokens: u64, until: Instant) -> Result<(), AskError> {
        loop {
            let now = Instant::now();
            let (taken, held) = {
                let mut buckets = lock(&self.buckets);
                (buckets.take(&self.pace, tokens, now), buckets.held(now))
            };
            let Err(wait) = taken else { return Ok(()) };
            if now + wait < until {
                tokio::time::sleep(wait).await;
            } else if held > Duration::ZERO {
                return Err(AskError::RateLimited { retry_after: Some(self.pace.unscaled(held)) });
            } else {
                return Err(AskError::Timeout { phase: Phase::Rate });
            }
        }
    }

    fn pause(&self, tried: u32, again: Again, until: Instant) -> Option<Duration> {
        let left = until.saturating_duration_since(Instant::now());
        retry::pause(&self.pace, tried, again, fraction(), left)
    }

    /// The error for the asker. A pause that was asked for holds for those who come after, too.
    fn give_up(&self, fault: Fault) -> AskError {
        if let Again::Later(Some(after)) = fault.again {
            let longest = self.pace.seconds(3_600.0);
            lock(&self.buckets).hold(after.min(longest), Instant::now());
        }
        match fault.error {
            AskError::RateLimited { retry_after } => {
                AskError::RateLimited { retry_after: retry_after.map(|after| self.pace.unscaled(after)) }
            }
            error => error,
        }
    }
}

/// From 0 to 1. Without randomness the pause is of medium length, which is no reason to fail.
fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

fn flight_key(request: &AskRequest) -> [u8; 32] {
    let messages: Vec<_> =
        request.messages.iter().map(|message| (message.role.name(), message.text.as_str())).collect();
    let whole = json!([request.system_prefix, messages, request.schema, request.max_output_tokens]);
    sha256(whole.to_string().as_bytes())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
