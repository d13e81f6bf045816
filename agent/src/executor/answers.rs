//! What a submission is answered with: remembered in the journal, said once, or nothing.

use sysop_common::action::{Event, OrderEvent, Refusal};
use sysop_common::bytes::Digest;
use sysop_common::ids::OrderId;
use sysop_common::order::{Order, OrderError, SignedOrder};
use sysop_common::wire::limits;

use crate::guard::Refused;
use crate::journal::{Journal, JournalError, Stamp};

/// What came of a submission.
#[derive(Debug)]
pub(super) enum Taken {
    /// It waits for its turn.
    Waits,
    /// What happened is in the journal.
    Journaled,
    /// Said once, to whoever submitted it: it is not in the journal.
    Said(OrderEvent),
    /// Nothing can be said: the bytes name no order, or what there is to say is on its way.
    Silent,
}

/// An order that its bytes alone disqualify.
pub(super) fn unverified(
    journal: &mut Journal,
    signed: &SignedOrder,
    digest: Digest,
    error: OrderError,
    stamp: &Stamp,
) -> Taken {
    tracing::warn!(reason = ?error.reason, detail = ?error.detail, "order refused");
    let Ok(order) = limits::decode::<Order>(&signed.order.0) else { return Taken::Silent };
    let refused = Refused::new(error.reason, error.detail);
    let known = journal.known(order.id);
    match error.reason {
        // Signed by a controller of this host, and in another minute it might have been taken.
        Refusal::Expired | Refusal::NotYet | Refusal::UnknownAction => match known {
            // What has run is not expired: its own story is told again.
            Some((known, _)) if known == digest => duplicate(&order, stamp),
            Some(_) => once(order.id, refused, stamp),
            None => remember(journal, &order, digest, &refused, stamp),
        },
        // Not proven to be an order at all: its word on its id must not disturb one that is under way.
        _ if known.is_some_and(|(_, ended)| !ended) => Taken::Silent,
        _ => once(order.id, refused, stamp),
    }
}

pub(super) fn remember(
    journal: &mut Journal,
    order: &Order,
    digest: Digest,
    refused: &Refused,
    stamp: &Stamp,
) -> Taken {
    tracing::warn!(order = %order.id, action = order.action.name(), reason = ?refused.reason, detail = ?refused.detail, "order refused");
    // What expired before the latest proven time can never be taken again: no need to keep it.
    if refused.reason == Refusal::Expired && journal.now(order.expires) > order.expires {
        return once(order.id, refused.clone(), stamp);
    }
    written(journal.refuse(order, digest, refused, stamp), order.id, stamp)
}

/// What became of an order that does not start. Where it could not be written it is said all the same:
/// whoever waits for an answer would ask again and again.
pub(super) fn written(result: Result<(), JournalError>, order: OrderId, stamp: &Stamp) -> Taken {
    match result {
        Ok(()) => Taken::Journaled,
        Err(e) => {
            tracing::error!(%order, error = %e, "what became of an order could not be written");
            once(order, Refused::new(Refusal::NoJournal, e.to_string()), stamp)
        }
    }
}

/// A refusal that is said once, for an order whose id can be read.
pub(super) fn said(signed: &SignedOrder, reason: Refusal, detail: String, stamp: &Stamp) -> Taken {
    match limits::decode::<Order>(&signed.order.0) {
        Ok(order) => once(order.id, Refused::new(reason, detail), stamp),
        Err(_) => Taken::Silent,
    }
}

pub(super) fn once(order: OrderId, refused: Refused, stamp: &Stamp) -> Taken {
    say(order, Event::Refused { reason: refused.reason, detail: refused.detail }, stamp)
}

pub(super) fn duplicate(order: &Order, stamp: &Stamp) -> Taken {
    say(order.id, Event::Duplicate, stamp)
}

fn say(order: OrderId, event: Event, stamp: &Stamp) -> Taken {
    Taken::Said(OrderEvent { order, number: 0, at: stamp.at, event, audit_head: None, signature: None })
}
