//! From records to what is known: pure, the same at start and while running.

use std::collections::BTreeMap;

use sysop_common::action::{Action, Event, OrderEvent};
use sysop_common::bytes::Digest;
use sysop_common::ids::{HostId, OrderId};
use sysop_common::order::Order;
use sysop_common::time::{HOUR_MS, UnixMs};

use super::clock::Stamp;
use super::record::{Base, Body, OrderRecord, Record};
use super::{passed_lease, succeeded};
use crate::guard::History;
use crate::guard::check::PastStart;

/// What the journal knows.
#[derive(Debug, Default)]
pub(super) struct State {
    reset_at: Option<UnixMs>,
    lease: Option<u64>,
    floor: UnixMs,
    orders: BTreeMap<OrderId, Known>,
}

/// What is known of one order.
#[derive(Debug)]
struct Known {
    first: Box<OrderRecord>,
    /// Its records but for acknowledgements, in their order.
    records: Vec<Record>,
    acknowledged: u64,
}

impl State {
    pub(super) fn apply(&mut self, record: &Record) {
        match &record.body {
            Body::Base(base) => {
                (self.reset_at, self.lease, self.floor) = (base.reset_at, base.lease, base.floor);
            }
            Body::Order(first) => self.order(record, first),
            Body::Event { order, .. } => {
                if let Some(known) = self.orders.get_mut(order) {
                    known.records.push(record.clone());
                }
            }
            Body::Acknowledged { order, number } => self.acknowledge(*order, *number),
        }
    }

    pub(super) fn acknowledge(&mut self, order: OrderId, number: u64) {
        if let Some(known) = self.orders.get_mut(&order) {
            known.acknowledged = known.acknowledged.max(number);
        }
    }

    fn order(&mut self, record: &Record, first: &OrderRecord) {
        let counts = match &first.event {
            Event::Refused { reason, .. } => passed_lease(*reason),
            _ => true,
        };
        if counts {
            self.lease = self.lease.max(Some(first.lease));
            self.prove(first.not_before);
        }
        if first.event == Event::Accepted {
            // In time when it was taken, so this lies before its expiry whatever the clock said.
            self.prove(first.stamp.at.min(first.expires));
        }
        let known = Known {
            first: Box::new(first.clone()),
            records: vec![record.clone()],
            acknowledged: first.acknowledged,
        };
        self.orders.entry(first.id).or_insert(known);
    }

    /// A verified order of the current lease shows that this time has come.
    pub(super) fn prove(&mut self, time: UnixMs) {
        self.floor = self.floor.max(time);
    }

    pub(super) const fn floor(&self) -> UnixMs {
        self.floor
    }

    pub(super) fn known(&self, order: OrderId) -> Option<(Digest, bool)> {
        self.orders.get(&order).map(|known| (known.first.digest, !known.is_open()))
    }

    pub(super) fn history(&self, order: &Order, now: &Stamp) -> History {
        let starts = self
            .orders
            .values()
            .filter(|known| known.has_started())
            .map(|known| PastStart {
                ago_ms: known.first.stamp.until(now),
                action: known.first.action.clone(),
            })
            .filter(|start| start.ago_ms < HOUR_MS.unsigned_abs())
            .collect();
        History {
            lease: self.lease,
            reset_at: self.reset_at,
            known: self.orders.get(&order.id).map(|known| known.first.digest),
            starts,
        }
    }

    /// Orders without an end, and whether they had started.
    pub(super) fn open_orders(&self) -> Vec<(OrderId, bool)> {
        self.orders
            .iter()
            .filter(|(_, known)| known.is_open())
            .map(|(id, known)| (*id, known.has_started()))
            .collect()
    }

    pub(super) fn unchecked(&self) -> Vec<(OrderId, Action)> {
        self.orders
            .values()
            .filter(|known| known.events().last().is_some_and(succeeded))
            .map(|known| (known.first.id, known.first.action.clone()))
            .collect()
    }

    pub(super) fn would_acknowledge(&self, order: OrderId, number: u64) -> bool {
        self.orders
            .get(&order)
            .is_some_and(|known| number > known.acknowledged && number <= known.last_number())
    }

    pub(super) fn is_settled(&self, order: OrderId) -> bool {
        self.orders
            .get(&order)
            .is_none_or(|known| !known.is_open() && known.acknowledged >= known.last_number())
    }

    pub(super) fn reports(&self, beyond: u64) -> Vec<OrderEvent> {
        let mut reports: Vec<_> = self
            .orders
            .values()
            .flat_map(|known| {
                let from = known.acknowledged.max(beyond);
                known
                    .records
                    .iter()
                    .filter(move |record| record.number > from)
                    .filter_map(|r| known.report(r))
            })
            .collect();
        reports.sort_by_key(|report| report.number);
        reports
    }

    /// Forgets orders that can never be taken again, are reported, and count for no limit.
    pub(super) fn prune(&mut self, now: &Stamp) {
        let floor = self.floor;
        self.orders.retain(|_, known| {
            let may_return = known.first.expires >= floor;
            let reported = !known.is_open() && known.acknowledged >= known.last_number();
            let counts = known.has_started() && known.first.stamp.until(now) < HOUR_MS.unsigned_abs();
            may_return || !reported || counts
        });
    }

    pub(super) fn base(&self, host: HostId, last: u64) -> Base {
        Base { host, reset_at: self.reset_at, lease: self.lease, floor: self.floor, last, kept: 0 }
    }

    /// All records that are still needed, in their order.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut records: Vec<_> = self.orders.values().flat_map(Known::kept).collect();
        records.sort_by_key(|record| record.number);
        records
    }
}

impl Known {
    fn events(&self) -> impl Iterator<Item = &Event> {
        self.records.iter().filter_map(|record| match &record.body {
            Body::Order(first) => Some(&first.event),
            Body::Event { event, .. } => Some(event),
            _ => None,
        })
    }

    fn has_started(&self) -> bool {
        self.events().any(|event| *event == Event::Started)
    }

    fn is_open(&self) -> bool {
        matches!(self.events().last(), None | Some(Event::Accepted | Event::Started))
    }

    fn last_number(&self) -> u64 {
        self.records.last().map_or(0, |record| record.number)
    }

    fn report(&self, record: &Record) -> Option<OrderEvent> {
        let event = match &record.body {
            Body::Order(first) => first.event.clone(),
            Body::Event { event, .. } => event.clone(),
            _ => return None,
        };
        Some(OrderEvent {
            order: self.first.id,
            number: record.number,
            at: record.at,
            event,
            audit_head: Some(self.first.audit_head),
            signature: None,
        })
    }

    /// Its records, with what was acknowledged in the first of them.
    fn kept(&self) -> Vec<Record> {
        let mut records = self.records.clone();
        if let Some(Record { body: Body::Order(first), .. }) = records.first_mut() {
            first.acknowledged = self.acknowledged;
        }
        records
    }
}
