//! The way of an order through the executor, without the socket: check, journal, run, verify.
//!
//! Orders that passed the first checks wait in a short queue; one runs at a time, on a thread of its
//! own. The journal is behind a lock that is held for single appends only.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sysop_common::action::{Event, OrderEvent, Refusal, RunState};
use sysop_common::bytes::Digest;
use sysop_common::ids::{OrderId, sha256};
use sysop_common::order::{MAX_SIGNED_ORDER, Order, SignedOrder};
use sysop_common::wire::limits;

use super::answers::{Taken, duplicate, once, remember, said, unverified, written};
use super::ground::Ground;
use super::outputs::Outputs;
use super::probe::{Probe, Step};
use super::{Paths, trust};
use crate::execute::{self, Evidence, Tools};
use crate::guard::owned::OwnedError;
use crate::guard::{Admitted, Facts, Policy, PolicyError, Refused, Verdict, check};
use crate::journal::{Clock, Journal, JournalError, Stamp, Started};

/// Orders that wait for their turn.
const QUEUE: usize = 4;
/// Withdrawn orders that are remembered before they come.
const MAX_WITHDRAWN: usize = 64;

/// What an executor works with.
pub(super) struct Core {
    paths: Paths,
    ground: Mutex<Ground>,
    outputs: Outputs,
    clock: Arc<dyn Clock>,
    tools: Tools,
    probe: Arc<dyn Probe>,
    lanes: Mutex<Lanes>,
    /// What is said once, of orders that nobody waits for at the door any more.
    unsaid: Mutex<Vec<OrderEvent>>,
}

/// What waits and what runs.
#[derive(Debug, Default)]
struct Lanes {
    stopping: bool,
    waiting: VecDeque<Admitted>,
    running: Option<OrderId>,
    withdrawn: VecDeque<OrderId>,
}

impl Core {
    /// Reads trust files and journal. What is wrong with them is kept as the reason why no order is taken.
    pub(super) fn open(paths: Paths, clock: Arc<dyn Clock>, tools: Tools, probe: Arc<dyn Probe>) -> Self {
        let ground = Mutex::new(Ground::new(&paths, &clock.stamp()));
        let outputs = Outputs::new(paths.state.join("output"));
        let (lanes, unsaid) = (Mutex::default(), Mutex::default());
        Self { paths, ground, outputs, clock, tools, probe, lanes, unsaid }
    }

    /// Takes a signed order as it came.
    pub(super) fn submit(&self, bytes: &[u8]) -> Taken {
        self.probe.reached(Step::Received);
        let stamp = self.clock.stamp();
        let signed = match decode(bytes) {
            Ok(signed) => signed,
            Err(why) => {
                tracing::warn!(%why, "something else than an order was submitted");
                return Taken::Silent;
            }
        };
        let digest = Digest(sha256(&signed.order.0));
        let mut ground = lock(&self.ground);
        ground.try_again(&self.paths, &stamp);
        let (trust, journal) = match &mut ground.open {
            Ok((trust, journal)) => (trust, journal),
            Err(why) => return said(&signed, Refusal::NoJournal, why.clone(), &stamp),
        };
        if let Some(why) = journal.broken() {
            let why = JournalError::Broken(why.to_owned());
            return said(&signed, Refusal::NoJournal, why.to_string(), &stamp);
        }
        let order = match trust.check_signed(&signed, journal.now(stamp.at)) {
            Ok(order) => order,
            Err(e) => return unverified(journal, &signed, digest, e, &stamp),
        };
        self.probe.reached(Step::Verified);
        self.admit(journal, order, digest, &stamp)
    }

    fn admit(&self, journal: &mut Journal, order: Order, digest: Digest, stamp: &Stamp) -> Taken {
        let history = journal.history(&order, stamp);
        let admitted = match check::admit(order.clone(), digest, &history, journal.now(stamp.at)) {
            Ok(admitted) => admitted,
            Err(Verdict::Duplicate) => return duplicate(&order, stamp),
            // Known under other bytes: what is in the journal stands.
            Err(Verdict::Refused(refused)) if history.known.is_some() => {
                return once(order.id, refused, stamp);
            }
            Err(Verdict::Refused(refused)) => return remember(journal, &order, digest, &refused, stamp),
        };
        let mut lanes = lock(&self.lanes);
        if let Some(at) = lanes.withdrawn.iter().position(|id| *id == order.id) {
            lanes.withdrawn.remove(at);
            return written(journal.cancel(&order, digest, stamp), order.id, stamp);
        }
        if lanes.waiting.iter().any(|waiting| waiting.order().id == order.id)
            || lanes.running == Some(order.id)
        {
            return duplicate(&order, stamp);
        }
        if lanes.waiting.len() >= QUEUE {
            let refused =
                Refused::new(Refusal::Busy, "other orders run or wait on this host; send a new one later");
            return remember(journal, &order, digest, &refused, stamp);
        }
        lanes.waiting.push_back(admitted);
        Taken::Waits
    }

    /// Withdraws an order that has not started. What has started is left alone.
    pub(super) fn cancel(&self, id: OrderId) -> Taken {
        let stamp = self.clock.stamp();
        let mut ground = lock(&self.ground);
        let Some(journal) = ground.journal() else { return Taken::Silent };
        let mut lanes = lock(&self.lanes);
        if let Some(at) = lanes.waiting.iter().position(|waiting| waiting.order().id == id) {
            let Some(waiting) = lanes.waiting.remove(at) else { return Taken::Silent };
            return written(journal.cancel(waiting.order(), waiting.digest(), &stamp), id, &stamp);
        }
        if lanes.running != Some(id) && journal.known(id).is_none() {
            if lanes.withdrawn.len() >= MAX_WITHDRAWN {
                lanes.withdrawn.pop_front();
            }
            lanes.withdrawn.push_back(id);
        }
        Taken::Silent
    }

    /// The controller has stored an order's events up to `number`.
    pub(super) fn acknowledge(&self, order: OrderId, number: u64) {
        let stamp = self.clock.stamp();
        let mut ground = lock(&self.ground);
        let Some(journal) = ground.journal() else { return };
        if let Err(e) = journal.acknowledge(order, number, &stamp) {
            tracing::warn!(%order, error = %e, "acknowledgement could not be noted");
        }
        if journal.is_settled(order) {
            self.outputs.remove(order);
        }
    }

    /// Events beyond `number` that no controller has acknowledged.
    pub(super) fn reports(&self, number: u64) -> Vec<OrderEvent> {
        lock(&self.ground).journal().map(|journal| journal.reports(number)).unwrap_or_default()
    }

    /// Takes what is to be said once of orders that had waited.
    pub(super) fn unsaid(&self) -> Vec<OrderEvent> {
        std::mem::take(&mut *lock(&self.unsaid))
    }

    /// What is kept of an order's output.
    pub(super) fn output(&self, order: OrderId) -> Option<Vec<u8>> {
        self.outputs.read(order)
    }

    /// Whether something waits or runs.
    pub(super) fn is_busy(&self) -> bool {
        let lanes = lock(&self.lanes);
        lanes.running.is_some() || !lanes.waiting.is_empty()
    }

    /// Whether something runs whose end is not in the journal yet.
    pub(super) fn is_running(&self) -> bool {
        let running = lock(&self.lanes).running;
        let mut ground = lock(&self.ground);
        let Some(journal) = ground.journal() else { return false };
        running.is_some_and(|order| journal.known(order).is_none_or(|(_, ended)| !ended))
    }

    /// Starts nothing more.
    pub(super) fn stop(&self) {
        lock(&self.lanes).stopping = true;
    }

    /// Runs what waits, one after the other; `wake` is called after each thing that can be reported.
    /// Called by one thread only.
    pub(super) fn work(&self, wake: &dyn Fn()) {
        while let Some(admitted) = self.next() {
            self.run(admitted, wake);
            lock(&self.lanes).running = None;
            wake();
        }
    }

    fn next(&self) -> Option<Admitted> {
        let mut lanes = lock(&self.lanes);
        if lanes.stopping {
            return None;
        }
        let next = lanes.waiting.pop_front();
        lanes.running = next.as_ref().map(|admitted| admitted.order().id);
        next
    }

    fn run(&self, admitted: Admitted, wake: &dyn Fn()) {
        let order = admitted.order().clone();
        let facts = execute::look(&order.action, &self.tools);
        self.probe.reached(Step::Looked);
        let Some(started) = self.start(admitted, facts) else {
            wake();
            return;
        };
        self.probe.reached(Step::Started);
        wake();
        tracing::info!(order = %order.id, action = order.action.name(), target = ?order.action.target(), reason = ?order.reason, "started");
        let done = execute::run(started, &self.tools);
        self.probe.reached(Step::Ran);
        self.outputs.write(order.id, &done.output);
        let succeeded = matches!(done.event, Event::Finished { state: RunState::Succeeded, .. });
        self.note(order.id, done.event);
        self.probe.reached(Step::Finished);
        wake();
        if succeeded {
            self.note(order.id, execute::verify(&order.action, done.evidence, &self.tools));
            self.probe.reached(Step::Checked);
        }
    }

    /// The last checks and the start, with the journal held: nothing comes in between.
    fn start(&self, admitted: Admitted, facts: Facts) -> Option<Started> {
        let stamp = self.clock.stamp();
        let mut ground = lock(&self.ground);
        let journal = ground.journal()?;
        let (order, digest) = (admitted.order().clone(), admitted.digest());
        let history = journal.history(&order, &stamp);
        // It has waited: its time may be over, a newer controller may have taken over meanwhile.
        let decided = match check::admit(order.clone(), digest, &history, journal.now(stamp.at)) {
            Err(Verdict::Duplicate) => return None,
            Err(Verdict::Refused(refused)) => Err(refused),
            Ok(admitted) => match load_policy(&self.paths.policy) {
                Ok(policy) => {
                    check::check(admitted, &policy, facts, &history).map_err(|(_, refused)| refused)
                }
                Err(refused) => Err(refused),
            },
        };
        match decided {
            Ok(permitted) => {
                self.probe.reached(Step::Permitted);
                match journal.start(permitted, &stamp) {
                    Ok(started) => return Some(started),
                    Err(e) => {
                        tracing::error!(order = %order.id, error = %e, "order is not started");
                        // After a failed write nobody knows what is on disk: the next start tells.
                        if journal.broken().is_none() {
                            let refused = Refused::new(Refusal::NoJournal, e.to_string());
                            self.say_later(once(order.id, refused, &stamp));
                        }
                    }
                }
            }
            Err(refused) => self.say_later(remember(journal, &order, digest, &refused, &stamp)),
        }
        None
    }

    fn say_later(&self, taken: Taken) {
        if let Taken::Said(event) = taken {
            lock(&self.unsaid).push(event);
        }
    }

    fn note(&self, order: OrderId, event: Event) {
        tracing::info!(%order, ?event, "noted");
        let stamp = self.clock.stamp();
        if let Some(journal) = lock(&self.ground).journal()
            && let Err(e) = journal.event(order, event, &stamp)
        {
            tracing::error!(%order, error = %e, "what became of an order could not be written");
        }
    }

    /// Looks at the effect of what had ended well before an earlier executor went.
    pub(super) fn catch_up(&self, wake: &dyn Fn()) {
        let unchecked = lock(&self.ground).journal().map(|journal| journal.unchecked()).unwrap_or_default();
        for (order, action) in unchecked {
            self.note(order, execute::verify(&action, Evidence::Look, &self.tools));
            wake();
        }
        if let Some(journal) = lock(&self.ground).journal() {
            self.outputs.keep_only(|order| !journal.is_settled(order));
        }
    }
}

/// The owner's file, read for each order. Without one nothing is allowed; with a broken one too.
fn load_policy(path: &Path) -> Result<Policy, Refused> {
    match Policy::load_guarded(path) {
        Ok(policy) => Ok(policy),
        Err(PolicyError::File(OwnedError::Missing(path))) => Ok(Policy::none(&path)),
        Err(e) => Err(Refused::new(Refusal::NotAllowed, e.to_string())),
    }
}

fn decode(bytes: &[u8]) -> Result<SignedOrder, String> {
    if bytes.len() > MAX_SIGNED_ORDER {
        return Err(format!("{} bytes, an order has at most {MAX_SIGNED_ORDER}", bytes.len()));
    }
    limits::decode(bytes).map_err(|e| e.to_string())
}

/// A thread that panicked while it held the lock has ended the process's use of it: what it left is
/// as whole as the journal on disk, whose appends are whole or not there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the journal of a host that was just enrolled.
///
/// # Errors
/// When the trust files cannot be read or the journal cannot be written.
pub(super) fn prepare(paths: &Paths, reset: bool, clock: &dyn Clock) -> Result<(), super::ExecutorError> {
    let host = trust::load_host(&paths.trust)?;
    Ok(Journal::create(&paths.state, host, &clock.stamp(), reset)?)
}
