//! Which acks a session owes: only what is committed, cumulative per epoch, again after a resend.

use sysop_common::ids::{Epoch, Seq};
use sysop_common::wire::Ack;

use super::dedupe::Numbers;

/// Epochs of one session. An agent drains old ones one after the other, so two are alive at most times.
const MAX_EPOCHS: usize = 16;

#[derive(Debug)]
struct Owed {
    epoch: Epoch,
    /// The last number acknowledged on this session.
    acked: u64,
    /// Something came that was known already: say again how far it is.
    resent: bool,
}

/// The acks of one session.
#[derive(Debug, Default)]
pub(super) struct Acks(Vec<Owed>);

impl Acks {
    /// Something of `epoch` came; `known` if it was a resend.
    pub(super) fn touched(&mut self, epoch: Epoch, known: bool) {
        if let Some(owed) = self.0.iter_mut().find(|owed| owed.epoch == epoch) {
            owed.resent |= known;
            return;
        }
        if self.0.len() >= MAX_EPOCHS {
            self.0.remove(0);
        }
        self.0.push(Owed { epoch, acked: 0, resent: known });
    }

    /// What is to be acknowledged now.
    pub(super) fn due(&mut self, numbers: &Numbers) -> Vec<Ack> {
        let mut acks = Vec::new();
        for owed in &mut self.0 {
            let committed = numbers.committed(owed.epoch).0;
            if committed > owed.acked || (owed.resent && committed > 0) {
                acks.push(Ack { epoch: owed.epoch, seq: Seq(committed) });
                owed.acked = committed;
            }
            owed.resent = false;
        }
        acks
    }

    /// Whether [`Acks::due`] must be looked at without a commit.
    pub(super) fn resent(&self) -> bool {
        self.0.iter().any(|owed| owed.resent)
    }
}
