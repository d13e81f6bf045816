//! Who may approve what. Pure.

use sysop_common::action::{Risk, RunState};

/// What an approval rests on.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Where the run stands.
    pub state: RunState,
    /// Its computed risk.
    pub risk: Risk,
    /// Who made it.
    pub created_by: &'a str,
    /// The person who approves; the one behind a token, not the token.
    pub person: &'a str,
    /// How many people may approve.
    pub approvers: usize,
}

/// An approval is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It does not wait.
    #[error("the run does not wait for approval: it is {}", .0.word())]
    NotWaiting(RunState),
    /// Their own, of high risk, and someone else could.
    #[error("nobody approves their own proposal of high risk: ask another operator")]
    OwnProposal,
    /// High risk needs more than a click.
    #[error(
        "high risk needs the approver's signature, checked on the host, which this version cannot make: \
         the run stays in the inbox; do it on the host itself, or choose a smaller action"
    )]
    NeedsSignature,
}

/// Whether `request` may be approved now.
///
/// # Errors
/// Why not.
pub fn judge(request: &Request<'_>) -> Result<(), Denied> {
    if request.state != RunState::AwaitingApproval {
        return Err(Denied::NotWaiting(request.state));
    }
    if request.risk < Risk::High {
        return Ok(());
    }
    if request.created_by == request.person && request.approvers >= 2 {
        return Err(Denied::OwnProposal);
    }
    Err(Denied::NeedsSignature)
}
