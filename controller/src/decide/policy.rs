//! Whether an action may run without a person. Every condition is asked; one that fails is enough to
//! wait, and all that fail are told. Pure.

use sysop_common::action::{Action, Risk};
use sysop_common::finding::OfferSource;
use sysop_common::grant::{Allowed, Grants, matches_pattern};

use super::budget::{Exhausted, Spent};

/// What the decision rests on.
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
    /// What is to be done.
    pub action: &'a Action,
    /// Computed risk.
    pub risk: Risk,
    /// Whether automation is on at all.
    pub automation: bool,
    /// Reason of a maintenance window that holds now.
    pub maintenance: Option<&'a str>,
    /// The flag of each assignment of this action that applies to the host.
    pub assignments: &'a [bool],
    /// Where the offer comes from.
    pub source: OfferSource,
    /// Whether the analyser's rules hold it fit to run unattended.
    pub unattended: bool,
    /// Whether its finding holds by a fresh sample.
    pub fresh: bool,
    /// What the host's owner allows, as announced.
    pub grants: &'a Grants,
    /// Owner of the process, for `kill_process`; `None` when it is not known.
    pub process_user: Option<&'a str>,
    /// Whether the agent knows this catalogue entry.
    pub known: bool,
    /// Whether an action on the incident failed, or its outcome is unknown.
    pub failed_before: bool,
    /// Why runs of the action for such trouble are not trusted any more.
    pub doubt: Option<&'a str>,
    /// What was spent.
    pub spent: &'a Spent,
}

/// Why an action waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    /// High risk never runs by itself.
    #[error("its risk is high")]
    HighRisk,
    /// The kill switch.
    #[error("automation is off; turn it on under Settings")]
    AutomationOff,
    /// A maintenance window.
    #[error("a maintenance window holds: {0}")]
    Maintenance(String),
    /// No assignment has the flag.
    #[error("{0} is not assigned to this host as automatic")]
    NotAssigned(&'static str),
    /// Only the model offers it.
    #[error("only the model offers it, not the analyser")]
    ModelOnly,
    /// The rules want a person.
    #[error("the analyser wants a person to decide this one")]
    Attended,
    /// The finding is not confirmed by a fresh sample.
    #[error("no fresh sample confirms the trouble")]
    Stale,
    /// No executor on the host.
    #[error("the host runs no executor: its owner enabled monitoring only")]
    MonitorOnly,
    /// The owner's policy.
    #[error("the host's policy does not allow it; its owner can add to /etc/sysop/policy.toml:\n{0}")]
    NotGranted(String),
    /// The owner's policy, flag.
    #[error("the host's policy allows it, but not without a person")]
    NotGrantedAutomatic,
    /// The agent does not have this catalogue entry.
    #[error("the agent does not know this version of {0}; update the agent")]
    UnknownAction(&'static str),
    /// Its runs stopped helping.
    #[error("{0}; an admin can trust it again under Settings")]
    Demoted(String),
    /// Something failed before.
    #[error("an earlier action on this incident failed or was not seen to help")]
    FailedBefore,
    /// A budget is used up.
    #[error("{0}")]
    Budget(#[from] Exhausted),
}

/// What keeps the action from running by itself; empty means that it may.
#[must_use]
pub fn waits(inputs: &Inputs<'_>) -> Vec<Wait> {
    let name = inputs.action.name();
    let mut waits = Vec::new();
    let mut unless = |holds: bool, wait: Wait| {
        if !holds {
            waits.push(wait);
        }
    };
    unless(inputs.risk < Risk::High, Wait::HighRisk);
    unless(inputs.automation, Wait::AutomationOff);
    unless(
        inputs.maintenance.is_none(),
        Wait::Maintenance(inputs.maintenance.unwrap_or_default().to_owned()),
    );
    unless(inputs.assignments.contains(&true), Wait::NotAssigned(name));
    unless(inputs.source == OfferSource::Analyser, Wait::ModelOnly);
    unless(inputs.unattended, Wait::Attended);
    unless(inputs.fresh, Wait::Stale);
    unless(inputs.known, Wait::UnknownAction(name));
    unless(!inputs.failed_before, Wait::FailedBefore);
    unless(inputs.doubt.is_none(), Wait::Demoted(inputs.doubt.unwrap_or_default().to_owned()));
    if !inputs.grants.executor {
        waits.push(Wait::MonitorOnly);
    } else if !granted(inputs.grants, inputs.action, inputs.process_user, false) {
        waits.push(Wait::NotGranted(policy_line(inputs.action)));
    } else if !granted(inputs.grants, inputs.action, inputs.process_user, true) {
        waits.push(Wait::NotGrantedAutomatic);
    }
    if let Err(exhausted) = inputs.spent.allows_one_more() {
        waits.push(exhausted.into());
    }
    waits
}

/// Whether the announced grants allow the action; with `automatic`, also without a person. For
/// planning only: the executor reads the owner's file itself.
#[must_use]
pub fn granted(grants: &Grants, action: &Action, process_user: Option<&str>, automatic: bool) -> bool {
    if action.unit().is_some_and(|unit| grants.protected.iter().any(|p| matches_pattern(p, unit.as_str()))) {
        return false;
    }
    let fits = |allowed: &Allowed| (!automatic || allowed.automatic) && covers(allowed, action, process_user);
    grants.of(action.name()).any(fits)
}

fn covers(allowed: &Allowed, action: &Action, process_user: Option<&str>) -> bool {
    let any = |patterns: &[String], text: &str| patterns.iter().any(|pattern| matches_pattern(pattern, text));
    match action {
        Action::RestartService { unit } | Action::StartService { unit } | Action::StopService { unit } => {
            any(&allowed.units, unit.as_str())
        }
        Action::KillProcess { process } => {
            let user = match process_user {
                Some(user) if allowed.users.is_empty() => user != "root" && user != "0",
                Some(user) => allowed.users.iter().any(|allowed| allowed == user),
                None => false,
            };
            user && any(&allowed.processes, &process.comm)
        }
        Action::CleanupTempFiles { root, .. } => allowed.roots.iter().any(|allowed| allowed == root.as_str()),
    }
}

/// What the host's owner would add to allow it, as the file has it.
#[must_use]
pub fn policy_line(action: &Action) -> String {
    let limit = match action {
        Action::RestartService { unit } | Action::StartService { unit } | Action::StopService { unit } => {
            format!("units = [\"{unit}\"]")
        }
        Action::KillProcess { process } => {
            let comm: String =
                process.comm.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).collect();
            format!("processes = [\"{comm}\"]")
        }
        Action::CleanupTempFiles { root, .. } => format!("roots = [\"{root}\"]"),
    };
    format!("[[allow]]\naction = \"{}\"\n{limit}", action.name())
}
