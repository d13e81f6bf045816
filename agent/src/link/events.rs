//! Events of orders until the controller has stored them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sysop_common::action::OrderEvent;
use sysop_common::ids::OrderId;

/// Most events that wait. The executor's journal keeps those beyond, and reports them again.
const MAX: usize = 256;
/// An event that is not acknowledged is said again after this long.
const RESEND: Duration = Duration::from_secs(10);

/// Events that are not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Some found no room.
    dropped: bool,
    waiting: BTreeMap<(OrderId, u64), (OrderEvent, Option<Instant>)>,
}

impl Events {
    /// Keeps an event until it is acknowledged.
    pub(super) fn add(&mut self, event: OrderEvent) {
        let key = (event.order, event.number);
        if self.waiting.contains_key(&key) {
            return;
        }
        if self.waiting.len() == MAX {
            // Ids are ordered by time: the newest order waits for the next report.
            self.waiting.pop_last();
            self.dropped = true;
        }
        self.waiting.insert(key, (event, None));
    }

    /// The controller has stored an order's events up to a number.
    pub(super) fn acknowledged(&mut self, order: OrderId, number: u64) {
        self.waiting.retain(|(id, n), _| *id != order || *n > number);
    }

    /// Whether events that found no room may be asked for again: true once, when there is much room.
    pub(super) fn has_room_again(&mut self) -> bool {
        self.waiting.len() <= MAX / 2 && std::mem::take(&mut self.dropped)
    }

    /// A new session: everything is to be said again.
    pub(super) fn restart(&mut self) {
        self.waiting.values_mut().for_each(|(_, said)| *said = None);
    }

    /// The next event that is to be said now.
    pub(super) fn next(&mut self, now: Instant) -> Option<OrderEvent> {
        let due = |said: &Option<Instant>| said.is_none_or(|at| now.duration_since(at) >= RESEND);
        let (event, said) = self.waiting.values_mut().find(|(_, said)| due(said))?;
        *said = Some(now);
        Some(event.clone())
    }

    /// When the next one is to be said again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|(_, said)| *said).min().map(|at| at + RESEND)
    }
}

#[cfg(test)]
mod tests {
    use sysop_common::action::Event;
    use sysop_common::time::UnixMs;

    use super::*;

    fn event(order: u128, number: u64) -> OrderEvent {
        OrderEvent {
            order: OrderId(uuid::Uuid::from_u128(order)),
            number,
            at: UnixMs(0),
            event: Event::Accepted,
            audit_head: None,
            signature: None,
        }
    }

    #[test]
    fn events_are_said_again_until_they_are_acknowledged() {
        let (mut events, now) = (Events::default(), Instant::now());
        for (order, number) in [(1, 1), (1, 2), (2, 3), (1, 2)] {
            events.add(event(order, number));
        }
        let mut said = |now| {
            let all: Vec<u64> = std::iter::from_fn(|| events.next(now)).map(|e| e.number).collect();
            events.acknowledged(event(1, 0).order, 1);
            all
        };
        assert_eq!(said(now), [1, 2, 3]);
        assert!(said(now + Duration::from_secs(9)).is_empty());
        assert_eq!(said(now + RESEND), [2, 3]);
        events.restart();
        events.acknowledged(event(2, 0).order, 3);
        assert_eq!(events.next(now).map(|e| e.number), Some(2));
        assert_eq!(events.deadline(), Some(now + RESEND));
    }

    #[test]
    fn the_number_of_waiting_events_is_bounded() {
        let mut events = Events::default();
        (0..1000).for_each(|n| events.add(event(n, 1)));
        assert_eq!(events.waiting.len(), MAX);
        assert!(events.waiting.contains_key(&(event(0, 1).order, 1)));
        assert!(!events.has_room_again());
        (0..200).for_each(|n| events.acknowledged(event(n, 1).order, 1));
        assert!(events.has_room_again(), "what found no room is asked for again");
        assert!(!events.has_room_again(), "once");
    }
}
