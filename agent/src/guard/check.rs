//! The decision about one verified order: pure, so that it can be replayed on recorded input.
//!
//! Decoding, signature, host and times are checked before (`common::order`). Here, in this order:
//! times again (an order may have waited its turn), lease, journal; then, with the target looked
//! at: policy, approvals, rate ceiling and cool-down, pre-check.

use sysop_common::action::{Action, Refusal, Risk, UnitName};
use sysop_common::bytes::Digest;
use sysop_common::order::{Order, Origin};
use sysop_common::time::{HOUR_MS, UnixMs};

use super::facts::{Facts, ProcessFacts, ServiceFacts};
use super::rules::Policy;

/// How far ahead of the highest lease seen an order's may be. A lease rises by one when another
/// controller takes a host over; ten thousand takeovers without one order are no history.
pub const MAX_LEASE_JUMP: u64 = 10_000;

/// An order is not taken; nothing runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    /// The reason that is reported.
    pub reason: Refusal,
    /// What the owner can do about it.
    pub detail: String,
}

impl Refused {
    /// With a reason and a text.
    pub fn new(reason: Refusal, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// What the journal knows that bears on one order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The highest lease of any order that passed this check; `None` before the first.
    pub lease: Option<u64>,
    /// When root reset the journal: orders made before may have run.
    pub reset_at: Option<UnixMs>,
    /// Digest of the bytes under which this order's id is known.
    pub known: Option<Digest>,
    /// The actions that started within the last hour.
    pub starts: Vec<PastStart>,
}

/// An action that started a while ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastStart {
    /// How long ago, in ms; counted without the wall clock where that is possible.
    pub ago_ms: u64,
    /// Which.
    pub action: Action,
}

impl PastStart {
    /// Whether it was the same action on the same target: a unit is one whatever name it was called by.
    fn is_same(&self, action: &Action, facts: &Facts) -> bool {
        let unit = |action: &Action| action.unit().map(UnitName::as_str).map(str::to_owned);
        let same_unit = match (unit(&self.action), facts) {
            (Some(past), Facts::Service(seen)) => seen.id == past || seen.names.contains(&past),
            _ => false,
        };
        self.action.name() == action.name() && (same_unit || self.action.target() == action.target())
    }
}

/// Why an order goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The very same order is known: what is known is reported again.
    Duplicate,
    /// It is not taken.
    Refused(Refused),
}

impl From<Refused> for Verdict {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// An order that is this host's, in time, and new.
#[derive(Debug, Clone)]
pub struct Admitted {
    order: Order,
    digest: Digest,
}

/// An order that the owner allows, on a target that was looked at. The journal takes nothing else.
#[derive(Debug)]
pub struct Permitted {
    order: Order,
    digest: Digest,
    facts: Facts,
}

impl Admitted {
    /// The order.
    #[must_use]
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// Digest of its signed bytes.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl Permitted {
    /// The order.
    #[must_use]
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// The order, the digest of its signed bytes, and what was seen of its target.
    #[must_use]
    pub fn into_parts(self) -> (Order, Digest, Facts) {
        (self.order, self.digest, self.facts)
    }
}

/// Whether an order in a verified envelope may be looked at further. `digest` is that of its signed
/// bytes, `now` the clock with its floor.
///
/// # Errors
/// The first check that fails.
pub fn admit(order: Order, digest: Digest, history: &History, now: UnixMs) -> Result<Admitted, Verdict> {
    let refuse = |reason, detail: String| Err(Refused::new(reason, detail).into());
    if now < order.not_before {
        return refuse(Refusal::NotYet, format!("order is for {} ms from now", order.not_before.since(now)));
    }
    if now > order.expires {
        return refuse(Refusal::Expired, format!("order expired {} ms ago", now.since(order.expires)));
    }
    if let Some(seen) = history.lease {
        if order.lease < seen {
            return refuse(
                Refusal::OldLease,
                format!("order has lease {}, this host has seen {seen}", order.lease),
            );
        }
        if order.lease - seen > MAX_LEASE_JUMP {
            return refuse(
                Refusal::LeaseJump,
                format!(
                    "order has lease {}, this host has seen {seen}; if that is right, run as root: sysop-agent execute --reset",
                    order.lease
                ),
            );
        }
    }
    match history.known {
        Some(known) if known == digest => return Err(Verdict::Duplicate),
        Some(_) => {
            return refuse(Refusal::Replayed, "another order was taken or refused under this id".into());
        }
        None => {}
    }
    // Orders are valid from a while before they are made, so this holds for a while after the reset.
    if let Some(at) = history.reset_at.filter(|at| order.not_before <= *at) {
        return refuse(
            Refusal::NoJournal,
            format!(
                "order may be from before the journal was reset, so it may have run; one that is made in {} s is taken",
                at.since(order.not_before) / 1_000 + 1
            ),
        );
    }
    Ok(Admitted { order, digest })
}

/// Whether the owner allows the order and its target is in a state that it can mend.
///
/// # Errors
/// The first check that fails.
pub fn check(
    admitted: Admitted,
    policy: &Policy,
    facts: Facts,
    history: &History,
) -> Result<Permitted, (Admitted, Refused)> {
    let order = &admitted.order;
    let result = policy
        .allows(&order.action, &facts, order.origin)
        .and_then(|()| approvals(order))
        .and_then(|()| rate(order, policy, &facts, history))
        .and_then(|()| pre_check(&order.action, order.origin, &facts));
    match result {
        Ok(()) => Ok(Permitted { order: admitted.order, digest: admitted.digest, facts }),
        Err(refused) => Err((admitted, refused)),
    }
}

/// An approver's signature cannot be checked yet, so what needs one is refused. The order's own
/// word on its risk can only raise it.
fn approvals(order: &Order) -> Result<(), Refused> {
    if order.risk.max(order.action.entry().floor) >= Risk::High {
        return Err(Refused::new(
            Refusal::NeedsApproval,
            "high risk needs an approver's own signature, which this agent cannot check yet",
        ));
    }
    Ok(())
}

fn rate(order: &Order, policy: &Policy, facts: &Facts, history: &History) -> Result<(), Refused> {
    let hour = HOUR_MS.unsigned_abs();
    let within: Vec<_> = history.starts.iter().filter(|start| start.ago_ms < hour).collect();
    let ceiling = usize::try_from(policy.actions_per_hour()).unwrap_or(usize::MAX);
    if within.len() >= ceiling {
        let oldest = within.iter().map(|start| start.ago_ms).max().unwrap_or_default();
        return Err(Refused::new(
            Refusal::RateLimited,
            format!(
                "{} actions started within an hour, as many as the host's policy allows; the next may start in {} s",
                within.len(),
                (hour - oldest).div_ceil(1_000)
            ),
        ));
    }
    let cool_down = u64::from(order.action.entry().cool_down_s) * 1_000;
    let same = |start: &&PastStart| start.is_same(&order.action, facts);
    let last = history.starts.iter().filter(same).map(|start| start.ago_ms).min();
    match last {
        Some(ago) if ago < cool_down => Err(Refused::new(
            Refusal::RateLimited,
            format!(
                "{} ran on this target {} s ago; it may run again in {} s",
                order.action.name(),
                ago / 1_000,
                (cool_down - ago).div_ceil(1_000)
            ),
        )),
        _ => Ok(()),
    }
}

/// Whether the action can mend its target as it is now.
fn pre_check(action: &Action, origin: Origin, facts: &Facts) -> Result<(), Refused> {
    let refuse = |detail: String| Err(Refused::new(Refusal::PreCheckFailed, detail));
    match (action, facts) {
        (_, Facts::Unseen(why)) => refuse(why.clone()),
        (
            Action::RestartService { .. } | Action::StartService { .. } | Action::StopService { .. },
            Facts::Service(unit),
        ) => service(action, origin, unit),
        (Action::KillProcess { process }, Facts::Process(seen)) => {
            if seen.start_ticks != process.start_ticks || seen.comm != process.comm {
                return refuse(format!("process {} is another one now", process.pid));
            }
            pidfd(seen)
        }
        (Action::CleanupTempFiles { root, .. }, Facts::Temp(seen)) => {
            if !seen.root_owned {
                return refuse(format!("{root} does not belong to root"));
            }
            Ok(())
        }
        _ => refuse("the target was looked at as something else".into()),
    }
}

fn pidfd(seen: &ProcessFacts) -> Result<(), Refused> {
    if seen.pidfd {
        return Ok(());
    }
    let detail = "this kernel cannot hold on to one process (Linux 5.3 or newer can)";
    Err(Refused::new(Refusal::PreCheckFailed, detail))
}

fn service(action: &Action, origin: Origin, unit: &ServiceFacts) -> Result<(), Refused> {
    let refuse = |detail: String| Err(Refused::new(Refusal::PreCheckFailed, detail));
    if unit.load != "loaded" {
        return refuse(format!("{} is {}, not loaded", unit.id, unit.load));
    }
    if unit.id.parse::<UnitName>().is_err() {
        return refuse(format!("{} has a name that this agent does not pass on", unit.id));
    }
    let (starts, stops) = match action {
        Action::StartService { .. } => (true, false),
        Action::StopService { .. } => (false, true),
        _ => (true, true),
    };
    if (starts && !unit.can_start) || (stops && !unit.can_stop) {
        return refuse(format!("{} refuses to be started or stopped by hand", unit.id));
    }
    match action {
        Action::StartService { .. } if !unit.is_down() => {
            refuse(format!("{} is {} already", unit.id, unit.state()))
        }
        Action::StopService { .. } if matches!(unit.active.as_str(), "inactive" | "failed") => {
            refuse(format!("{} does not run: it is {}", unit.id, unit.state()))
        }
        // Without a person's word only what is down is restarted: what runs again needs no repair.
        Action::RestartService { .. } if origin == Origin::Automatic && !unit.is_down() => {
            refuse(format!("{} is {} again", unit.id, unit.state()))
        }
        _ => Ok(()),
    }
}
