//! Where more than the hard lane joins in: statistical detectors, and a model's advice.

use sysop_common::action::Risk;
use sysop_common::finding::Offer;

pub use super::rules::Detector;
use crate::store::incidents::Incident;

/// Advice on one offer. It can only make things safer: nothing in it can lower a risk, bind another
/// parameter or add an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Id of the offer within its incident.
    pub offer: String,
    /// Raise its risk to at least this.
    pub at_least: Option<Risk>,
    /// Let a person decide.
    pub withdraw: bool,
    /// Why, for people.
    pub why: String,
}

/// Gives advice that it has already. It does its own work elsewhere and wakes the analyser when there
/// is something new; here nobody waits for it.
pub trait Adviser: Send + Sync {
    /// What it says of an open incident.
    fn advice(&self, incident: &Incident) -> Vec<Advice>;
}

/// Applies advice to offers. What names no offer is ignored.
pub fn apply(offers: &mut [Offer], advice: &[Advice]) {
    for advice in advice {
        let Some(offer) = offers.iter_mut().find(|offer| offer.id == advice.offer) else { continue };
        if let Some(least) = advice.at_least {
            offer.risk = offer.risk.max(least);
        }
        if advice.withdraw {
            offer.unattended = false;
        }
    }
}
