//! Fills a proposal from its run.

use sysop_common::action::{Risk, RunState};
use sysop_common::finding::Offer;
use sysop_common::order::{Order, SignedOrder};
use sysop_common::wire::limits;

use super::{Approval, Decide, Proposal};
use crate::decide::approval::{Request, judge};
use crate::store::StoreError;
use crate::store::runs::{self, Run};
use crate::store::users::{self, Role};
use crate::web::pages::shared::HostRef;
use crate::web::pages::source::{Source, who_decided};
use crate::web::pages::words;
use crate::web::widgets::format;

/// Who looks at a proposal.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The person's name.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// How many people may approve.
    pub approvers: usize,
}

impl Viewer {
    /// The person called `name`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of(source: Source<'_>, name: &str, role: Role) -> Result<Self, StoreError> {
        let users = users::list(source.db, "", 1_000).await?;
        let approvers =
            users.iter().filter(|user| user.role >= Role::Operator && user.disabled_at.is_none()).count();
        Ok(Self { name: name.to_owned(), role, approvers })
    }

    fn decide(&self, run: &Run) -> Decide {
        if run.state != RunState::AwaitingApproval {
            return Decide::Settled(settled(run));
        }
        if self.role < Role::Operator {
            return Decide::NotAllowed("Your role only reads. An operator can decide".to_owned());
        }
        let request = Request {
            state: run.state,
            risk: run.risk,
            created_by: &run.created_by,
            person: &self.name,
            approvers: self.approvers,
        };
        match judge(&request) {
            Ok(()) => Decide::Allowed,
            Err(denied) => Decide::NotAllowed(words::capital(&denied.to_string())),
        }
    }
}

fn settled(run: &Run) -> String {
    let (_, words) = crate::web::pages::shared::run_state(run.state);
    let at = run.decided_at.map(|at| format!(" at {} UTC", format::clock(at.0))).unwrap_or_default();
    match run.state {
        RunState::Proposed => "Proposed; it is being decided whether it may run by itself.".to_owned(),
        _ => format!("Decided: {}{at}. It is {words}.", who_decided(run)),
    }
}

/// The proposal of a run, as `viewer` sees it. `offer` is the analyser's, where there is one.
#[must_use]
pub fn fill(run: &Run, host: HostRef, offer: Option<&Offer>, viewer: &Viewer) -> Proposal {
    let action = &run.action;
    let waits = run.state == RunState::AwaitingApproval;
    Proposal {
        run: run.id.to_string(),
        title: format!("{} on {}", words::title(action), host.name),
        verb: words::verb(action),
        effect: words::effect(action),
        undo: words::undo(action),
        irreversible: action.entry().irreversible,
        check: offer.map_or_else(|| words::check(action), |offer| offer.expect.clone()),
        failure: words::FAILURE.to_owned(),
        caveat: offer
            .map(|offer| offer.not_fixed.as_str())
            .filter(|text| !text.is_empty())
            .map(|text| format!("Not repaired by this: {text}.")),
        why_asked: Some(run.reason.clone()).filter(|reason| waits && !reason.is_empty()),
        risk: run.risk,
        factors: words::factors(&run.risk_factors),
        command: command(run, &host.name),
        digest: words::digest(run),
        expires_ms: run.expires_at.map(|at| at.0),
        approvals: approvals(run),
        needed: 1,
        decide: viewer.decide(run),
        host,
    }
}

fn approvals(run: &Run) -> Vec<Approval> {
    match (&run.decided_by, run.decided_at) {
        (Some(by), Some(at)) if by != runs::BY_POLICY && run.state != RunState::Rejected => {
            vec![Approval { by: by.clone(), at_ms: at.0, comment: String::new() }]
        }
        _ => Vec::new(),
    }
}

/// The order line by line: from the bytes that were signed, once they were.
#[must_use]
pub fn command(run: &Run, host: &str) -> String {
    match run.signed_order.as_deref().and_then(signed) {
        Some(order) => words::command(&order.action, host, Some(order.expires.0)),
        None => {
            words::command(&run.action, host, run.expires_at.map(|at| at.0).filter(|_| run.risk < Risk::High))
        }
    }
}

fn signed(bytes: &[u8]) -> Option<Order> {
    let signed: SignedOrder = limits::decode(bytes).ok()?;
    limits::decode(&signed.order.0).ok()
}
