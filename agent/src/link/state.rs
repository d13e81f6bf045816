//! One session, without a socket and without a clock: bytes and times come in; bytes, effects and the
//! next deadline go out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sysop_common::ids::{ControllerId, Epoch, OrderId, Seq};
use sysop_common::order::SignedOrder;
use sysop_common::probe::ProbeList;
use sysop_common::time::UnixMs;
use sysop_common::wire::frame::FrameBuf;
use sysop_common::wire::{
    Configure, Downward, Hello, OutputChunk, QueryRequest, Upward, VERSION, Welcome, WireError,
};

use super::feed::{Feed, Source};

/// The feature of newest samples that go ahead of a catch-up.
pub(super) const LIVE: &str = "now";
/// The feature of probes that a controller asks for.
pub(super) const PROBES: &str = "probes";
/// Messages that may wait to be sent, beside samples.
const QUEUE: usize = 64;
/// Bytes of messages that are put into one write.
const WRITE: usize = 64 * 1024;

/// What a session wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// The controller accepted the session.
    Welcomed { controller: ControllerId, interval: Duration, window: Duration, clock: UnixMs },
    /// Everything of an epoch up to a number is stored.
    Stored(Epoch, Seq),
    /// An order came.
    Order(Box<SignedOrder>),
    /// An order is withdrawn.
    Cancel(OrderId),
    /// Settings came.
    Configure { interval: Duration, window: Duration },
    /// A certificate came.
    Renewed(Vec<u8>),
    /// A reading is asked for.
    Query(QueryRequest),
    /// An order's events up to a number are stored.
    EventStored(OrderId, u64),
    /// Probes to run came.
    Probes(ProbeList),
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The controller ended it and said why.
    #[error("the controller ended the session: {0}")]
    Closed(String),
    /// What came is no message.
    #[error("the controller sent something else than messages: {0}")]
    Wire(#[from] WireError),
    /// The first message was another one.
    #[error("the controller did not begin with a welcome")]
    NoWelcome,
    /// No version is spoken by both.
    #[error("the controller speaks version {0}, this agent speaks {VERSION}; update the older one")]
    Version(u16),
    /// Nothing came in time.
    #[error("the controller did not answer in time")]
    Silent,
    /// Nothing was acknowledged in time.
    #[error("nothing was acknowledged in time")]
    Stalled,
}

/// How long a session may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) welcome: Duration,
    pub(super) ack: Duration,
}

/// A session.
pub(super) struct Session {
    patience: Patience,
    frames: FrameBuf,
    effects: VecDeque<Effect>,
    /// Messages beside samples; they are few and go first.
    queue: VecDeque<Upward>,
    /// Output of runs, where it has no stream of its own; samples go first.
    outputs: VecDeque<OutputChunk>,
    feed: Feed,
    started: Instant,
    welcomed: bool,
    /// Since when something is unacknowledged and nothing was acknowledged.
    silent_since: Option<Instant>,
}

impl Session {
    /// A session that begins with `hello`.
    pub(super) fn new(hello: Hello, patience: Patience, now: Instant) -> Self {
        Self {
            patience,
            frames: FrameBuf::default(),
            effects: VecDeque::new(),
            queue: [Upward::Hello(hello)].into(),
            outputs: VecDeque::new(),
            feed: Feed::default(),
            started: now,
            welcomed: false,
            silent_since: None,
        }
    }

    /// Takes bytes from the controller.
    ///
    /// # Errors
    /// When the session cannot go on.
    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<(), Fault> {
        self.frames.extend(bytes);
        loop {
            let message = match self.frames.next_frame()? {
                Some(frame) => Downward::decode(frame),
                None => return Ok(()),
            };
            match message {
                Ok(message) => self.hear(message, now)?,
                // A newer controller may say more than this agent knows.
                Err(WireError::UnknownKind(kind)) if self.welcomed => {
                    tracing::debug!(kind, "ignored a kind of message that this agent does not know");
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn hear(&mut self, message: Downward, now: Instant) -> Result<(), Fault> {
        let effect = match message {
            Downward::Close(reason) => return Err(Fault::Closed(reason.chars().take(200).collect())),
            Downward::Welcome(welcome) if !self.welcomed => return self.welcome(welcome),
            _ if !self.welcomed => return Err(Fault::NoWelcome),
            Downward::Welcome(_) => return Ok(()),
            Downward::Ack(ack) => {
                let covered = self.feed.acknowledged(ack.epoch, ack.seq);
                if !covered.is_empty() {
                    self.silent_since = self.feed.awaits_ack().then_some(now);
                }
                self.effects.extend(covered.into_iter().map(|(epoch, seq)| Effect::Stored(epoch, seq)));
                return Ok(());
            }
            Downward::Order(order) => Effect::Order(order),
            Downward::Cancel(order) => Effect::Cancel(order),
            Downward::Configure(Configure { interval_ms, reconnect_window_ms }) => {
                Effect::Configure { interval: ms(interval_ms), window: ms(reconnect_window_ms) }
            }
            Downward::Renewed(renewed) => Effect::Renewed(renewed.certificate.0),
            Downward::Query(request) => Effect::Query(request),
            Downward::Probes(list) => Effect::Probes(list),
            Downward::EventAck { order, number } => Effect::EventStored(order, number),
        };
        self.effects.push_back(effect);
        Ok(())
    }

    fn welcome(&mut self, welcome: Welcome) -> Result<(), Fault> {
        if welcome.version != VERSION {
            return Err(Fault::Version(welcome.version));
        }
        self.welcomed = true;
        self.feed.allow_live(welcome.features.iter().any(|feature| feature == LIVE));
        let stored = welcome.stored.into_iter().map(|(epoch, seq)| Effect::Stored(epoch, seq));
        self.effects.extend(stored);
        self.effects.push_back(Effect::Welcomed {
            controller: welcome.controller,
            interval: ms(welcome.interval_ms),
            window: ms(welcome.reconnect_window_ms),
            clock: welcome.clock,
        });
        Ok(())
    }

    /// The next thing to do.
    pub(super) fn effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Whether there is something to do.
    pub(super) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Whether the controller accepted the session.
    pub(super) const fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    /// Whether more may be given to [`Session::say`] and [`Session::output`].
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < QUEUE && self.outputs.len() < 4
    }

    /// Queues a message.
    pub(super) fn say(&mut self, message: Upward) {
        self.queue.push_back(message);
    }

    /// Queues output of a run, behind samples.
    pub(super) fn output(&mut self, chunk: OutputChunk) {
        self.outputs.push_back(chunk);
    }

    /// Appends what is to be sent next to `out`: a few messages, a batch of samples, a piece of output.
    ///
    /// # Errors
    /// When a message is over its cap.
    pub(super) fn transmit(
        &mut self,
        source: Option<&mut dyn Source>,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), Fault> {
        let limit = out.len() + WRITE;
        while let Some(message) = self.queue.pop_front_if(|_| out.len() < limit) {
            message.encode(out)?;
        }
        let Some(source) = source.filter(|_| self.welcomed) else { return Ok(()) };
        self.feed.fill(source, out)?;
        if self.feed.awaits_ack() {
            self.silent_since.get_or_insert(now);
        }
        match self.outputs.pop_front() {
            Some(chunk) => Ok(Upward::Output(chunk).encode(out)?),
            None => Ok(()),
        }
    }

    /// When [`Session::expired`] must be asked next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.welcomed {
            self.silent_since.map(|since| since + self.patience.ack)
        } else {
            Some(self.started + self.patience.welcome)
        }
    }

    /// Looks at the time.
    ///
    /// # Errors
    /// When the session was silent for too long.
    pub(super) fn expired(&self, now: Instant) -> Result<(), Fault> {
        match self.deadline() {
            Some(deadline) if deadline <= now && self.welcomed => Err(Fault::Stalled),
            Some(deadline) if deadline <= now => Err(Fault::Silent),
            _ => Ok(()),
        }
    }
}

const fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms as u64)
}
