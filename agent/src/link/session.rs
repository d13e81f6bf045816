//! Moving bytes between one connection and its [`Session`].

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sysop_common::action::{Event, OrderEvent};
use sysop_common::bytes::Bytes;
use sysop_common::ids::OrderId;
use sysop_common::time::UnixMs;
use sysop_common::wire::{Hello, OutputChunk, RenewRequest, Upward, VERSION};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::dial::{self, Connection, DialError, Writer};
use super::feed::Source;
use super::output::Outputs;
use super::route::{End, Transport};
use super::state::{Effect, Fault, LIVE, PROBES, Patience, Session};
use super::{Ask, Link, Report};
use crate::spool::{Drain, Entry, Sample, Spool};

/// Bytes of one read.
const READ: usize = 4 * 1024;

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Loss {
    /// The agent stops.
    Stop,
    /// QUIC works again: go on with this connection.
    Upgrade(Box<Connection>),
    /// A new certificate is there: connect again with it.
    Renewed,
    /// It could not go on; whether it had been accepted, and why it ended.
    Broken(bool, End, String),
}

/// The spool as a session reads it.
struct FromSpool {
    spool: Spool,
    drain: Drain,
}

impl Source for FromSpool {
    fn next(&mut self) -> Option<Entry> {
        self.drain.next_entry()
    }

    fn newest(&self) -> Option<Arc<Sample>> {
        self.spool.newest()
    }

    fn backlog(&self) -> u64 {
        self.spool.depth().unacked
    }
}

/// A session on its connection.
struct Carrier<'a> {
    link: &'a mut Link,
    connection: Connection,
    session: Session,
    source: Option<FromSpool>,
    outputs: Option<Outputs>,
    /// A piece of output that its stream had no room for.
    held: Option<OutputChunk>,
    /// Ends of runs whose output is under way, and what follows them: said after it, so that an end that
    /// is stored has its output. If the session ends first, the executor tells both again.
    ending: Vec<OrderEvent>,
    out: Vec<u8>,
    written: usize,
    flushed: bool,
}

/// What a session waited for.
enum Happened {
    Stopped,
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Flushed(io::Result<()>),
    Report(Report),
    Probed(Result<Connection, DialError>),
    OutputDone(OrderId),
    Woken,
}

/// Runs a session on `connection` until it ends.
pub(super) async fn serve(link: &mut Link, connection: Connection) -> Loss {
    let hello = Hello {
        version_min: VERSION,
        version_max: VERSION,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        features: vec![LIVE.to_owned(), PROBES.to_owned()],
        epoch: link.spool.epoch(),
        previous: link.spool.previous(),
        boot_id: link.settings.boot_id.clone(),
        next_seq: link.spool.next_seq(),
        clock: UnixMs::from_system(SystemTime::now()),
    };
    let patience =
        Patience { welcome: link.settings.link.handshake_timeout.0, ack: link.settings.link.ack_timeout.0 };
    let outputs = connection.quic.as_ref().map(|(_, connection)| Outputs::new(connection.clone()));
    link.events.restart();
    let carrier = Carrier {
        session: Session::new(hello, patience, Instant::now()),
        link,
        connection,
        source: None,
        outputs,
        held: None,
        ending: Vec::new(),
        out: Vec::new(),
        written: 0,
        flushed: true,
    };
    carrier.run().await
}

impl Carrier<'_> {
    async fn run(mut self) -> Loss {
        let loss = loop {
            if let Err(loss) = self.step().await {
                break loss;
            }
        };
        match &loss {
            Loss::Broken(..) => {
                if let Some((_, quic)) = &self.connection.quic {
                    quic.close(quinn::VarInt::from_u32(0), b"lost");
                }
            }
            _ => self.connection.close().await,
        }
        loss
    }

    /// Does what is to be done, and waits until there is more.
    async fn step(&mut self) -> Result<(), Loss> {
        // What finds no room waits in the session, which reads nothing meanwhile.
        while self.link.asks.capacity() > 0 {
            let Some(effect) = self.session.effect() else { break };
            self.act(effect);
        }
        self.prepare()?;
        let deadline = self.deadline();
        let mut buf = [0u8; READ];
        let (link, connection) = (&mut *self.link, &mut self.connection);
        let (welcomed, may_read) = (self.session.is_welcomed(), !self.session.has_effects());
        let may_report = welcomed && self.held.is_none() && self.session.has_room();
        let pending = &self.out[self.written..];
        let happened = tokio::select! {
            _ = link.stop.wait_for(|stop| *stop) => Happened::Stopped,
            read = connection.reader.read(&mut buf), if may_read => Happened::Read(read),
            wrote = push(&mut connection.writer, pending, self.flushed) => wrote,
            report = link.reports.recv(), if may_report => report.map_or(Happened::Stopped, Happened::Report),
            probed = probe(&mut link.probe), if welcomed => Happened::Probed(probed),
            order = output_done(&mut self.outputs), if welcomed => Happened::OutputDone(order),
            () = link.spool.changed(), if welcomed => Happened::Woken,
            () = tokio::time::sleep_until(deadline.into()) => Happened::Woken,
            _ = link.asks.reserve(), if !may_read => Happened::Woken,
        };
        self.handle(happened, &buf)
    }

    fn handle(&mut self, happened: Happened, buf: &[u8]) -> Result<(), Loss> {
        let now = Instant::now();
        match happened {
            Happened::Stopped => return Err(Loss::Stop),
            Happened::Read(Ok(0)) => return Err(self.broken(&io::ErrorKind::UnexpectedEof.into())),
            Happened::Read(Ok(n)) => {
                let bytes = buf.get(..n).unwrap_or_default();
                self.session.receive(bytes, now).map_err(|fault| self.fault(&fault))?;
            }
            Happened::Wrote(Ok(n)) => {
                self.written += n;
                self.flushed = false;
            }
            Happened::Flushed(Ok(())) => self.flushed = true,
            Happened::Read(Err(e)) | Happened::Wrote(Err(e)) | Happened::Flushed(Err(e)) => {
                return Err(self.broken(&e));
            }
            Happened::Report(report) => self.report(report)?,
            Happened::Probed(probed) => self.probed(probed)?,
            Happened::OutputDone(order) => {
                let done = self.ending.extract_if(.., |event| event.order == order);
                done.for_each(|event| self.link.events.add(event));
            }
            Happened::Woken => {}
        }
        self.session.expired(now).map_err(|fault| self.fault(&fault))
    }

    /// Has the next bytes ready when the last ones are written.
    fn prepare(&mut self) -> Result<(), Loss> {
        if let Some(chunk) = self.held.take() {
            self.put_output(chunk);
        }
        if self.written < self.out.len() {
            return Ok(());
        }
        self.out.clear();
        self.out.shrink_to(READ);
        self.written = 0;
        let now = Instant::now();
        while self.session.is_welcomed() && self.session.has_room() {
            let Some(event) = self.link.events.next(now) else { break };
            self.session.say(Upward::OrderEvent(event));
        }
        let source = self.source.as_mut().map(|source| source as &mut dyn Source);
        self.session.transmit(source, &mut self.out, now).map_err(|fault| self.fault(&fault))
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let latest = now + Duration::from_secs(60);
        // A stream without room is looked at again soon.
        let held = self.held.is_some().then(|| now + Duration::from_millis(50));
        // While nothing can be put, an event that is due would make this turn in circles.
        let can_say = self.session.is_welcomed() && self.session.has_room() && self.written == self.out.len();
        [self.session.deadline(), self.link.events.deadline().filter(|_| can_say), held]
            .into_iter()
            .flatten()
            .fold(latest, Instant::min)
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Welcomed { controller, interval, window, clock } => {
                let drain = self.link.spool.drain();
                self.source = Some(FromSpool { spool: self.link.spool.clone(), drain });
                self.link.welcomed(self.connection.transport, controller, clock);
                self.link.configure(interval, window);
                self.link.ask(Ask::Opened);
            }
            Effect::Stored(epoch, seq) => {
                self.link.spool.acknowledge(epoch, seq);
                self.link.stored();
            }
            Effect::Order(order) => self.link.ask(Ask::Order(order)),
            Effect::Cancel(order) => self.link.ask(Ask::Cancel(order)),
            Effect::Configure { interval, window } => self.link.configure(interval, window),
            Effect::Renewed(certificate) => self.link.ask(Ask::Renewed(certificate)),
            Effect::Query(request) => self.link.ask(Ask::Query(request)),
            Effect::Probes(list) => self.link.ask(Ask::Probes(list)),
            Effect::EventStored(order, number) => {
                self.link.events.acknowledged(order, number);
                if self.link.events.has_room_again() {
                    self.link.ask(Ask::EventsAgain);
                }
                self.link.ask(Ask::EventStored(order, number));
            }
        }
    }

    fn report(&mut self, report: Report) -> Result<(), Loss> {
        match report {
            Report::Event(event) => {
                let ended = matches!(event.event, Event::Finished { .. } | Event::Unknown { .. });
                // What comes after an end is said after it: an acknowledgement covers all before.
                let follows = self.ending.iter().any(|end| end.order == event.order);
                let outputs = self.outputs.as_mut().filter(|_| ended);
                if follows || outputs.is_some_and(|outputs| outputs.finish(event.order)) {
                    self.ending.push(event);
                } else {
                    self.link.events.add(event);
                }
            }
            Report::Output(chunk) => self.put_output(chunk),
            Report::Answer(answer) => self.session.say(Upward::Answer(answer)),
            Report::Inventory(inventory) => self.session.say(Upward::Inventory(inventory)),
            Report::Renew(csr) => self.session.say(Upward::RenewRequest(RenewRequest { csr: Bytes(csr) })),
            Report::Identity(tls) => {
                self.link.target.tls = tls;
                return Err(Loss::Renewed);
            }
        }
        Ok(())
    }

    fn put_output(&mut self, chunk: OutputChunk) {
        match &mut self.outputs {
            Some(outputs) => self.held = outputs.put(chunk).err(),
            None => self.session.output(chunk),
        }
    }

    fn probed(&mut self, probed: Result<Connection, DialError>) -> Result<(), Loss> {
        match probed {
            Ok(connection) => Err(Loss::Upgrade(Box::new(connection))),
            Err(e) => {
                tracing::debug!(error = %e, "QUIC does not get through yet");
                self.link.start_probe();
                Ok(())
            }
        }
    }

    fn fault(&self, fault: &Fault) -> Loss {
        let welcomed = self.session.is_welcomed();
        let end = match fault {
            Fault::Stalled | Fault::Silent => End::Stalled,
            Fault::Closed(_) if !welcomed => End::Refused,
            _ => End::Other,
        };
        Loss::Broken(welcomed, end, fault.to_string())
    }

    fn broken(&self, error: &io::Error) -> Loss {
        let (why, welcomed) = (self.connection.explain(error), self.session.is_welcomed());
        let end = match why {
            DialError::Certificate(_) => End::Refused,
            DialError::Refused(_) if !welcomed => End::Refused,
            _ => End::Other,
        };
        Loss::Broken(welcomed, end, why.to_string())
    }
}

/// Writes some of what is pending, and flushes what was written.
async fn push(writer: &mut Writer, pending: &[u8], flushed: bool) -> Happened {
    if !pending.is_empty() {
        Happened::Wrote(writer.write(pending).await)
    } else if !flushed {
        Happened::Flushed(writer.flush().await)
    } else {
        std::future::pending().await
    }
}

async fn output_done(outputs: &mut Option<Outputs>) -> OrderId {
    match outputs {
        Some(outputs) => outputs.done().await,
        None => std::future::pending().await,
    }
}

/// Waits for the probe of QUIC, if one is under way.
async fn probe(probe: &mut Option<super::Probe>) -> Result<Connection, DialError> {
    match probe {
        Some(future) => {
            let done = future.as_mut().await;
            *probe = None;
            done
        }
        None => std::future::pending().await,
    }
}

/// A probe of QUIC after `wait`.
pub(super) fn start_probe(target: &dial::Target, wait: Duration, timeout: Duration) -> super::Probe {
    let target = target.clone();
    Box::pin(async move {
        tokio::time::sleep(wait).await;
        dial::dial(Transport::Quic, &target, timeout).await
    })
}
