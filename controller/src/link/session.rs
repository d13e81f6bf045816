//! One session: hello, welcome, then messages both ways until it ends. One task, so that its memory is
//! bounded by its buffers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sysop_common::query::Answer;
use sysop_common::time::UnixMs;
use sysop_common::wire::frame::FrameBuf;
use sysop_common::wire::{Downward, Hello, QueryRequest, Upward, VERSION, Welcome, WireError, negotiate};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Context;
use super::carrier::{Reader, Writer};
use super::outputs;
use super::ports::{Admission, Intake, LinkEvent, Opened, Peer, Refused};
use super::registry::{Command, Entry, Place, Verdict};

/// The hello must come within this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a session looks after itself.
const HOUSEKEEPING: Duration = Duration::from_secs(15);
/// While there is no room, how often to look whether there is again.
const ROOM_CHECK: Duration = Duration::from_millis(250);
/// A session over TCP without a byte for this long is dead; over QUIC the transport knows by itself.
/// Three times the longest interval of samples.
const TCP_IDLE: Duration = Duration::from_secs(200);
/// Readings that may be under way in one session.
const MAX_QUERIES: usize = 16;
/// Kinds of message from this one on are the controller's own.
const FIRST_DOWNWARD: u8 = 64;
/// Parts of the protocol that may be left out; these this build speaks.
const FEATURES: &[&str] = &["now", "probes"];

/// The streams of a session.
pub(super) struct Streams {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// For streams of outputs, and the round trip time.
    pub(super) quic: Option<quinn::Connection>,
}

/// Why a session ended, for the peer and the log.
pub(super) type Ended = Refused;

fn ended(why: impl std::fmt::Display) -> Ended {
    Refused(why.to_string())
}

/// Runs a session of an admitted peer to its end. `opened` is dropped when the session is live: until then
/// the connection counts among those that are coming in.
pub(super) async fn run(
    context: Arc<Context>,
    peer: Peer,
    admission: Admission,
    mut streams: Streams,
    opening: impl Send,
) {
    let mut buf = FrameBuf::default();
    let started = start(&context, &peer, admission, &mut streams, &mut buf).await;
    drop(opening);
    let (place, opened) = match started {
        Ok(started) => started,
        Err(why) => {
            tracing::info!(host = %peer.host, address = %peer.address, reason = %why, "session refused");
            return close(&mut streams, &why).await;
        }
    };
    let entry = place.entry.clone();
    context.ports.events.happened(LinkEvent::Opened { peer, since: entry.since });
    let mut session = Session {
        context: &context,
        peer,
        entry: &entry,
        intake: opened.intake,
        not_after: admission.not_after,
        queries: HashMap::new(),
        next_query: 0,
        outputs: JoinSet::new(),
        heard: Instant::now(),
        out: Vec::new(),
    };
    let why = session.serve(&mut streams, &mut buf, place).await;
    drop(session);
    let in_order = why.0 == LEFT || said_goodbye(&streams);
    context.registry.leave(&entry);
    close(&mut streams, &why).await;
    context.ports.events.happened(LinkEvent::Closed { peer, since: entry.since, reason: why.0, in_order });
}

/// Whether the agent closed the connection with its last word: the stream alone may just break then.
fn said_goodbye(streams: &Streams) -> bool {
    let closed = streams.quic.as_ref().and_then(quinn::Connection::close_reason);
    let word = |reason| match reason {
        quinn::ConnectionError::ApplicationClosed(closed) => &closed.reason[..] == b"done",
        _ => false,
    };
    closed.is_some_and(word)
}

/// Tells a peer why it gets no session.
pub(super) async fn refuse(streams: &mut Streams, why: &str) {
    close(streams, &ended(why)).await;
}

async fn close(streams: &mut Streams, why: &Ended) {
    let mut out = Vec::new();
    if Downward::Close(why.0.clone()).encode(&mut out).is_ok() && streams.writer.write(&out).await.is_ok() {
        streams.writer.finish().await;
        streams.reader.drain().await;
    }
    if let Some(quic) = &streams.quic {
        quic.close(0u32.into(), why.0.as_bytes().get(..200).unwrap_or(why.0.as_bytes()));
    }
}

/// Hello, the registry, the intake, welcome.
async fn start(
    context: &Context,
    peer: &Peer,
    admission: Admission,
    streams: &mut Streams,
    buf: &mut FrameBuf,
) -> Result<(Place, Opened), Ended> {
    let hello = tokio::time::timeout(HELLO_TIMEOUT, hello(streams, buf))
        .await
        .unwrap_or_else(|_| Err(ended("no hello came in time")))?;
    let version = negotiate((VERSION, VERSION), (hello.version_min, hello.version_max)).ok_or_else(|| {
        ended(format!(
            "this controller speaks version {VERSION} of the protocol, the agent {} to {}: update the older one",
            hello.version_min, hello.version_max
        ))
    })?;
    let place = context.registry.enter(*peer, &hello, context.clock.now()).map_err(|verdict| {
        if verdict == (Verdict::Clone { report: true }) {
            context.ports.events.happened(LinkEvent::Clone { peer: *peer });
        }
        ended("another session with this certificate is live; if this host was copied, enrol it by itself")
    })?;
    let opened = match context.ports.gate.open(peer, &hello, admission).await {
        Ok(opened) => opened,
        Err(why) => {
            context.registry.leave(&place.entry);
            return Err(why);
        }
    };
    let features = FEATURES.iter().map(|f| (*f).to_owned()).filter(|f| hello.features.contains(f)).collect();
    let welcome = Welcome {
        version,
        features,
        controller: context.controller,
        stored: opened.stored.clone(),
        interval_ms: context.options.interval_ms,
        reconnect_window_ms: context.reconnect_window_ms(),
        clock: context.clock.now(),
    };
    let mut out = Vec::new();
    let sent = match Downward::Welcome(welcome).encode(&mut out) {
        Ok(()) => streams.writer.write(&out).await.map_err(ended),
        Err(error) => Err(ended(error)),
    };
    if let Err(why) = sent {
        context.registry.leave(&place.entry);
        return Err(why);
    }
    Ok((place, opened))
}

async fn hello(streams: &mut Streams, buf: &mut FrameBuf) -> Result<Hello, Ended> {
    loop {
        if let Some(frame) = buf.next_frame().map_err(ended)? {
            return match Upward::decode(frame).map_err(ended)? {
                Upward::Hello(hello) => Ok(hello),
                _ => Err(ended("the first message must be a hello")),
            };
        }
        if streams.reader.read(buf).await.map_err(ended)? == 0 {
            return Err(ended("the peer ended the connection"));
        }
    }
}

struct Session<'a> {
    context: &'a Context,
    peer: Peer,
    entry: &'a Entry,
    intake: Box<dyn Intake>,
    not_after: UnixMs,
    queries: HashMap<u64, oneshot::Sender<Answer>>,
    next_query: u64,
    /// Streams with outputs; ended with the session.
    outputs: JoinSet<()>,
    heard: Instant,
    out: Vec<u8>,
}

/// Why a session ended that its agent ended.
const LEFT: &str = "the agent ended the session";

/// What a session waits for.
enum Next {
    Read(std::io::Result<usize>),
    Signal,
    Command(Option<Box<Command>>),
    Output(quinn::RecvStream),
    Housekeeping,
    Room,
    Close(String),
}

impl Session<'_> {
    async fn serve(&mut self, streams: &mut Streams, buf: &mut FrameBuf, place: Place) -> Ended {
        let Place { mut commands, mut closing, .. } = place;
        let signal = self.intake.signal();
        let mut housekeeping = Box::pin(tokio::time::sleep(HOUSEKEEPING));
        // One for all rounds: each copy of it takes the connection's lock.
        let quic = streams.quic.clone();
        loop {
            if let Err(why) = self.buffered(streams, buf).await {
                return why;
            }
            if buf.pending() == 0 {
                // An idle session keeps no buffer.
                *buf = FrameBuf::default();
            }
            let room = self.intake.has_room();
            let next = tokio::select! {
                biased;
                why = &mut closing => Next::Close(why.unwrap_or_default()),
                () = signal.notified() => Next::Signal,
                command = commands.recv() => Next::Command(command),
                read = streams.reader.read(buf), if room => Next::Read(read),
                stream = outputs::accept(quic.as_ref()), if self.outputs.len() < outputs::MAX_STREAMS => Next::Output(stream),
                _ = self.outputs.join_next(), if !self.outputs.is_empty() => continue,
                () = &mut housekeeping => Next::Housekeeping,
                () = tokio::time::sleep(ROOM_CHECK), if !room => Next::Room,
            };
            let done = match next {
                Next::Close(why) => return Refused(why),
                Next::Read(Ok(0)) => return ended(LEFT),
                Next::Read(Err(error)) => return ended(error),
                Next::Read(Ok(_)) => {
                    self.heard = Instant::now();
                    self.entry.heard(self.context.clock.now());
                    Ok(())
                }
                Next::Signal | Next::Room => self.intake.pump().and_then(|()| self.put_acks()),
                Next::Command(Some(command)) => self.command(*command, streams).await,
                Next::Command(None) => return ended("the registry is gone"),
                Next::Output(stream) => {
                    self.outputs.spawn(outputs::read(
                        stream,
                        self.peer.host,
                        self.context.ports.results.clone(),
                    ));
                    Ok(())
                }
                Next::Housekeeping => {
                    housekeeping.as_mut().reset(Instant::now() + HOUSEKEEPING);
                    self.look_after(streams)
                }
            };
            if let Err(why) = done {
                return why;
            }
            if let Err(why) = self.flush(streams).await {
                return why;
            }
        }
    }

    /// Handles whole frames that were read, for as long as there is room.
    async fn buffered(&mut self, streams: &mut Streams, buf: &mut FrameBuf) -> Result<(), Ended> {
        while self.intake.has_room() {
            let Some(frame) = buf.next_frame().map_err(ended)? else { break };
            match Upward::decode(frame) {
                Ok(message) => self.message(message).await?,
                // A newer agent may say more than this controller knows.
                Err(WireError::UnknownKind(kind)) if kind < FIRST_DOWNWARD => {}
                Err(error) => return Err(ended(error)),
            }
        }
        if self.intake.resent() {
            self.put_acks()?;
        }
        self.flush(streams).await
    }

    async fn message(&mut self, message: Upward) -> Result<(), Ended> {
        let host = self.peer.host;
        match message {
            Upward::Samples(samples) => self.intake.samples(samples),
            Upward::Now(now) => self.intake.now(now),
            Upward::Gap(gap) => self.intake.gap(gap),
            Upward::Schema(schema) => self.intake.schema(schema),
            Upward::Inventory(inventory) => self.intake.inventory(&inventory).await,
            Upward::OrderEvent(event) => {
                let (order, number) = (event.order, event.number);
                self.context.ports.results.order_event(host, event).await?;
                self.put(&Downward::EventAck { order, number })
            }
            Upward::Output(chunk) => self.context.ports.results.output(host, chunk).await,
            Upward::Answer(answer) => {
                if let Some(reply) = self.queries.remove(&answer.id) {
                    // Whoever asked may have given up.
                    let _ = reply.send(answer);
                }
                Ok(())
            }
            Upward::RenewRequest(request) => {
                let renewed = self.context.ports.enroller.renew(&self.peer, request).await?;
                self.put(&Downward::Renewed(renewed))
            }
            Upward::Hello(_) => Err(ended("a second hello came")),
        }
    }

    async fn command(&mut self, command: Command, streams: &mut Streams) -> Result<(), Ended> {
        match command {
            Command::Order(order, sent) => {
                self.put(&Downward::Order(Box::new(order)))?;
                self.flush(streams).await?;
                let _ = sent.send(());
                Ok(())
            }
            Command::Cancel(order) => self.put(&Downward::Cancel(order)),
            Command::Configure(configure) => self.put(&Downward::Configure(configure)),
            Command::Probes(list) => self.put(&Downward::Probes(list)),
            Command::Query(query, reply) => {
                self.queries.retain(|_, reply| !reply.is_closed());
                if self.queries.len() >= MAX_QUERIES {
                    // Dropping the reply tells whoever asked.
                    return Ok(());
                }
                self.next_query += 1;
                self.queries.insert(self.next_query, reply);
                self.put(&Downward::Query(QueryRequest { id: self.next_query, query }))
            }
        }
    }

    fn look_after(&mut self, streams: &Streams) -> Result<(), Ended> {
        if self.context.clock.now() >= self.not_after {
            return Err(ended("the certificate has expired; enrol the host again"));
        }
        match &streams.quic {
            Some(quic) => self.entry.set_rtt(quic.rtt()),
            None if self.heard.elapsed() > TCP_IDLE => return Err(ended("nothing came for too long")),
            None => {}
        }
        Ok(())
    }

    fn put(&mut self, message: &Downward) -> Result<(), Ended> {
        message.encode(&mut self.out).map_err(ended)
    }

    fn put_acks(&mut self) -> Result<(), Ended> {
        for ack in self.intake.acks() {
            self.put(&Downward::Ack(ack))?;
        }
        Ok(())
    }

    async fn flush(&mut self, streams: &mut Streams) -> Result<(), Ended> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = streams.writer.write(&self.out).await.map_err(ended);
        self.out.clear();
        self.out.shrink_to(128);
        written
    }
}
