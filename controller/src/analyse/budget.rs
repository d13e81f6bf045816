//! How many soft findings a host may have opened for nothing: an online false-discovery budget. Pure.
//!
//! A soft finding that is not open yet is a test, made once per episode: its odds are held against what
//! the tests before have left. Facts are never tested.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sysop_common::time::{HOUR_MS, MINUTE_MS, UnixMs};

use super::statistics::wealth::Wealth;

/// What was away for longer is another episode.
const EPISODE_MS: i64 = HOUR_MS;
/// What was refused is tested again after this long, or when it is this much less likely by chance.
const AGAIN_MS: i64 = 10 * MINUTE_MS;
const LESS_LIKELY: f64 = 0.1;
/// Most episodes that are remembered.
const MAX_CASES: usize = 64;

/// What is left to spend on soft findings of one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    wealth: Wealth,
    cases: BTreeMap<String, Case>,
}

/// An episode of one finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Case {
    last: UnixMs,
    tested: UnixMs,
    odds: f64,
    admitted: bool,
}

impl Budget {
    /// Whether a soft finding with these odds, seen at `now`, may be told. `open`: its incident is.
    pub fn admits(&mut self, fingerprint: &str, odds: f64, now: UnixMs, open: bool) -> bool {
        let known = self.cases.get(fingerprint).filter(|case| now.since(case.last) <= EPISODE_MS);
        let mut case =
            known.cloned().unwrap_or(Case { last: now, tested: UnixMs(0), odds: 1.0, admitted: false });
        case.last = now;
        case.admitted |= open;
        let due = now.since(case.tested) >= AGAIN_MS || odds <= case.odds * LESS_LIKELY;
        if !case.admitted && due {
            case.admitted = self.wealth.test(odds);
            (case.tested, case.odds) = (now, odds);
        }
        let admitted = case.admitted;
        self.cases.insert(fingerprint.to_owned(), case);
        while self.cases.len() > MAX_CASES {
            let oldest = self.cases.iter().min_by_key(|(_, case)| case.last).map(|(name, _)| name.clone());
            oldest.map(|name| self.cases.remove(&name));
        }
        admitted
    }

    /// Packed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_cbor::to_vec(self).unwrap_or_default()
    }

    /// From its packed form; `None` when it cannot be read.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let read: Self = serde_cbor::from_slice(bytes).ok()?;
        let sane = read.wealth.tests.is_finite() && read.wealth.finds.iter().all(|since| since.is_finite());
        (sane && read.cases.len() <= MAX_CASES).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_tested_once_and_what_was_refused_again_when_it_is_surer() {
        let mut budget = Budget::default();
        let at = |minutes: i64| UnixMs(1_800_000_000_000 + minutes * MINUTE_MS);
        assert!(!budget.admits("a", 0.01, at(0), false));
        let after = budget.wealth.clone();
        assert!(!budget.admits("a", 0.01, at(1), false));
        assert_eq!(budget.wealth, after, "the same again costs nothing");
        assert!(budget.admits("a", 1e-7, at(2), false));
        let after = budget.wealth.clone();
        assert!(budget.admits("a", 0.5, at(30), false));
        assert_eq!(budget.wealth, after);
        assert!(!budget.admits("a", 0.5, at(120), false), "another episode");
        assert!(budget.admits("b", 1.0, at(120), true), "what is open is told");
        assert_eq!(Budget::decode(&budget.encode()), Some(budget.clone()));
        for n in 0..200 {
            budget.admits(&format!("x{n}"), 0.5, at(121), false);
        }
        assert_eq!(budget.cases.len(), MAX_CASES);
    }
}
