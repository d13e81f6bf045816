//! What became of each order, on disk before anything runs. An id runs once.
//!
//! Two preallocated files take turns: one is written at its end, and when it is full, what is still
//! needed goes into the other under the next generation. A record is a frame of fixed size with a
//! checksum over generation, place and content, so a torn, stale or misplaced frame is not one. A
//! third small file, the mark, holds the number up to which records were synced before anybody
//! acted on them: a journal that ends before its mark has lost something, and then nothing runs
//! until root resets it. A torn tail beyond the mark was never acted on and is dropped.

mod clock;
mod disk;
mod record;
mod replay;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;

use sysop_common::action::{Action, Event, OrderEvent, Refusal, RunState};
use sysop_common::bytes::Digest;
use sysop_common::ids::{HostId, OrderId};
use sysop_common::order::Order;
use sysop_common::time::UnixMs;

use crate::guard::{Facts, History, Permitted, Refused};
pub use clock::{Clock, Stamp, SystemClock};
pub use disk::JournalError;
use record::{Body, OrderRecord, shortened};
use replay::State;
use store::Store;

/// Frames that stay free for the end of what has started, and for reports about it.
const RESERVE: usize = 16;
/// Frames that refusals leave free for starts.
const RESERVE_FOR_STARTS: usize = 128;
/// Most bytes of an event's text: with the rest of its record it fits into one frame.
const MAX_DETAIL: usize = 900;

/// An order that is on disk as started. Only the journal makes one, out of a [`Permitted`].
#[derive(Debug)]
pub struct Started {
    order: Order,
    facts: Facts,
}

impl Started {
    /// The order.
    #[must_use]
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// What was seen of its target before.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// The journal, open and locked.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    state: State,
}

impl Journal {
    /// Makes the journal of a host that was just enrolled, or a new one in place of one that is
    /// broken (`reset`): then orders made before `now` are refused, since they may have run.
    ///
    /// # Errors
    /// When it cannot be written, or is there already and not to be reset.
    pub fn create(dir: &Path, host: HostId, now: &Stamp, reset: bool) -> Result<(), JournalError> {
        let reset_at = reset.then_some(now.at);
        disk::create(dir, reset, |disks| Store::format(disks, host, reset_at, now.at))
    }

    /// Opens, locks and recovers the journal of `host`: what had started and has no end is
    /// `unknown` from now on, what had been taken and not started never starts.
    ///
    /// # Errors
    /// When it is missing, another host's, damaged, in use, or cannot be written.
    pub fn open(dir: &Path, host: HostId, now: &Stamp) -> Result<Self, JournalError> {
        let (disks, lock) = disk::open(dir)?;
        Self::recover(disks, Some(lock), host, now)
    }

    fn recover(
        disks: disk::Disks,
        lock: Option<std::os::fd::OwnedFd>,
        host: HostId,
        now: &Stamp,
    ) -> Result<Self, JournalError> {
        let (store, records) = Store::open(disks, lock, host)?;
        let mut journal = Self { store, state: State::default() };
        records.iter().for_each(|record| journal.state.apply(record));
        if journal.store.has_stale_tail() {
            journal.compact(now)?;
        }
        for (order, started) in journal.state.open_orders() {
            let event = if started {
                Event::Unknown { detail: "the executor ended while this ran; it is not started again".into() }
            } else {
                Event::Cancelled
            };
            journal.event(order, event, now)?;
        }
        Ok(journal)
    }

    /// The wall clock, but never before the latest time that a verified order proved. The bare wall
    /// clock does not raise this floor: a clock that once ran ahead must not lock the host up.
    #[must_use]
    pub fn now(&self, wall: UnixMs) -> UnixMs {
        wall.max(self.state.floor())
    }

    /// What is known that bears on `order`.
    #[must_use]
    pub fn history(&self, order: &Order, now: &Stamp) -> History {
        self.state.history(order, now)
    }

    /// The digest under which `order` is known, and whether nothing more is to come of it.
    #[must_use]
    pub fn known(&self, order: OrderId) -> Option<(Digest, bool)> {
        self.state.known(order)
    }

    /// Remembers that a verified order was not taken, so that it is not taken later either.
    ///
    /// # Errors
    /// When it cannot be written; then nothing may be reported.
    pub fn refuse(
        &mut self,
        order: &Order,
        digest: Digest,
        refused: &Refused,
        now: &Stamp,
    ) -> Result<(), JournalError> {
        let event = Event::Refused { reason: refused.reason, detail: shortened(&refused.detail, MAX_DETAIL) };
        self.first(order, digest, event, now)
    }

    /// Remembers that a verified order was withdrawn before it started.
    ///
    /// # Errors
    /// When it cannot be written; then nothing may be reported.
    pub fn cancel(&mut self, order: &Order, digest: Digest, now: &Stamp) -> Result<(), JournalError> {
        self.first(order, digest, Event::Cancelled, now)
    }

    fn first(
        &mut self,
        order: &Order,
        digest: Digest,
        event: Event,
        now: &Stamp,
    ) -> Result<(), JournalError> {
        if !matches!(&event, Event::Refused { reason, .. } if !passed_lease(*reason)) {
            self.state.prove(order.not_before);
        }
        self.make_room(1 + RESERVE_FOR_STARTS, now)?;
        let record = OrderRecord::new(order, digest, event, *now);
        self.append(vec![Body::Order(Box::new(record))], now, true)
    }

    /// Puts "accepted" and "started" on disk. When this returns, the order counts as run.
    ///
    /// # Errors
    /// When they cannot be written; then nothing may run.
    pub fn start(&mut self, permitted: Permitted, now: &Stamp) -> Result<Started, JournalError> {
        let (order, digest, facts) = permitted.into_parts();
        if self.state.known(order.id).is_some() {
            return Err(JournalError::Known(order.id));
        }
        self.state.prove(order.not_before);
        self.make_room(2 + RESERVE, now)?;
        let accepted = OrderRecord::new(&order, digest, Event::Accepted, *now);
        let started = Body::Event { order: order.id, event: Event::Started };
        self.append(vec![Body::Order(Box::new(accepted)), started], now, true)?;
        Ok(Started { order, facts })
    }

    /// Adds what became of a started order.
    ///
    /// # Errors
    /// When it cannot be written; the order is then `unknown` after the next start.
    pub fn event(&mut self, order: OrderId, event: Event, now: &Stamp) -> Result<(), JournalError> {
        self.make_room(1, now)?;
        self.append(vec![Body::Event { order, event: shorten(event) }], now, true)
    }

    /// The controller has stored an order's events up to `number`. Needs no sync: a lost
    /// acknowledgement means one more harmless report.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn acknowledge(&mut self, order: OrderId, number: u64, now: &Stamp) -> Result<(), JournalError> {
        if !self.state.would_acknowledge(order, number) {
            return Ok(());
        }
        self.state.acknowledge(order, number);
        if self.store.room() == 0 {
            // The acknowledgement is what makes room: it travels in the order's own record.
            return self.compact(now);
        }
        self.append(vec![Body::Acknowledged { order, number }], now, false)
    }

    /// Events beyond `number` that are not acknowledged, in their order.
    #[must_use]
    pub fn reports(&self, number: u64) -> Vec<OrderEvent> {
        self.state.reports(number)
    }

    /// Whether an order's end was acknowledged, or it is not known: its output is not needed any more.
    #[must_use]
    pub fn is_settled(&self, order: OrderId) -> bool {
        self.state.is_settled(order)
    }

    /// Orders that ended well and whose effect was not looked at.
    #[must_use]
    pub fn unchecked(&self) -> Vec<(OrderId, Action)> {
        self.state.unchecked()
    }

    /// Why no order can be taken any more, if so: a write or sync failed, and what is on disk is not sure.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.store.broken()
    }

    fn append(&mut self, bodies: Vec<Body>, now: &Stamp, durable: bool) -> Result<(), JournalError> {
        let records = self.store.append(bodies, now.at, durable)?;
        records.iter().for_each(|record| self.state.apply(record));
        Ok(())
    }

    fn make_room(&mut self, frames: usize, now: &Stamp) -> Result<(), JournalError> {
        if self.store.room() >= frames {
            return Ok(());
        }
        self.compact(now)?;
        if self.store.room() >= frames { Ok(()) } else { Err(JournalError::Full) }
    }

    fn compact(&mut self, now: &Stamp) -> Result<(), JournalError> {
        self.state.prune(now);
        let base = self.state.base(self.store.host(), self.store.last_number());
        let kept = self.state.records();
        if kept.len() + 1 > store::CAPACITY {
            return Err(JournalError::Full);
        }
        self.store.rewrite(base, &kept, now.at)
    }
}

/// An event whose texts fit into a frame.
fn shorten(event: Event) -> Event {
    match event {
        Event::Finished { state, exit, duration_ms, detail, output, output_bytes } => {
            let detail = shortened(&detail, MAX_DETAIL);
            Event::Finished { state, exit, duration_ms, detail, output, output_bytes }
        }
        Event::Refused { reason, detail } => {
            Event::Refused { reason, detail: shortened(&detail, MAX_DETAIL) }
        }
        Event::Unknown { detail } => Event::Unknown { detail: shortened(&detail, MAX_DETAIL) },
        Event::Checked { verified, detail } => {
            Event::Checked { verified, detail: shortened(&detail, MAX_DETAIL) }
        }
        other => other,
    }
}

/// Whether a refusal came after the lease was checked: only then do the order's lease and time count.
const fn passed_lease(reason: Refusal) -> bool {
    !matches!(
        reason,
        Refusal::NotYet
            | Refusal::Expired
            | Refusal::OldLease
            | Refusal::LeaseJump
            | Refusal::WrongHost
            | Refusal::UnknownAction
            | Refusal::LifetimeTooLong
    )
}

/// Whether the run ended well.
const fn succeeded(event: &Event) -> bool {
    matches!(event, Event::Finished { state: RunState::Succeeded, .. })
}
