//! How many soft findings a host may have opened for nothing: an online false-discovery budget. Pure.
//!
//! A soft finding that is not open yet is a test, made once per episode: its odds are held against what
//! the tests before have left. Facts are never tested.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sysop_common::time::{DAY_MS, HOUR_MS, MINUTE_MS, UnixMs};

use super::statistics::wealth::Wealth;

/// What was away for longer is another episode.
const EPISODE_MS: i64 = HOUR_MS;
/// What was refused is tested again after this long, or when it is this much less likely by chance.
const AGAIN_MS: i64 = 10 * MINUTE_MS;
const LESS_LIKELY: f64 = 0.1;
/// Most findings that are remembered, and most stretches of each.
const MAX_CASES: usize = 64;
const MAX_PAST: usize = 8;
/// What was not seen for this long has ended.
const ENDED_MS: i64 = 5 * MINUTE_MS;
/// What came and went so often within a day must last longer than it ever did to be told again: half as
/// long again, but never more than this. With a job that saturates a host for some minutes every few hours
/// this halved the incidents of a simulation.
const OFTEN: usize = 3;
const LONGER: f64 = 1.5;
const MOST_PATIENCE_MS: i64 = 15 * MINUTE_MS;

/// What is left to spend on soft findings of one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    wealth: Wealth,
    cases: BTreeMap<String, Case>,
}

/// One finding, over its episodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Case {
    since: UnixMs,
    last: UnixMs,
    /// When it ended within the last day, and how long it had lasted, in ms.
    past: Vec<(UnixMs, i64)>,
    tested: UnixMs,
    odds: f64,
    admitted: bool,
}

/// A soft finding, as far as the budget looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Its fingerprint.
    pub fingerprint: &'a str,
    /// How seldom it comes by chance.
    pub odds: f64,
    /// When it began.
    pub onset: UnixMs,
    /// Whether its incident is open.
    pub open: bool,
    /// It cannot wait, however often it came and went.
    pub urgent: bool,
}

impl Case {
    fn new(claim: &Claim<'_>, now: UnixMs) -> Self {
        let (since, last) = (claim.onset, now);
        Self { since, last, past: Vec::new(), tested: UnixMs(0), odds: 1.0, admitted: false }
    }

    /// Takes note that it is seen at `now`.
    fn seen(&mut self, claim: &Claim<'_>, now: UnixMs) {
        let away = now.since(self.last);
        if away > ENDED_MS {
            self.past.push((self.last, self.last.since(self.since)));
            self.since = claim.onset;
        }
        if away > EPISODE_MS {
            (self.tested, self.odds, self.admitted) = (UnixMs(0), 1.0, false);
        }
        self.past.retain(|(ended, _)| now.since(*ended) <= DAY_MS);
        let drop = self.past.len().saturating_sub(MAX_PAST);
        self.past.drain(..drop);
        self.last = now;
        self.admitted |= claim.open;
    }

    /// How long it must last to be told.
    fn patience(&self) -> i64 {
        let longest = self.past.iter().map(|(_, lasted)| *lasted).max().unwrap_or(0);
        if self.past.len() < OFTEN { 0 } else { ((longest as f64 * LONGER) as i64).min(MOST_PATIENCE_MS) }
    }
}

impl Budget {
    /// Whether a soft finding that is seen at `now` may be told.
    pub fn admits(&mut self, claim: &Claim<'_>, now: UnixMs) -> bool {
        let (fingerprint, odds) = (claim.fingerprint, claim.odds);
        let known = self.cases.get(fingerprint).cloned();
        let mut case = known.unwrap_or_else(|| Case::new(claim, now));
        case.seen(claim, now);
        let due = now.since(case.tested) >= AGAIN_MS || odds <= case.odds * LESS_LIKELY;
        let waits = !claim.urgent && now.since(case.since.min(claim.onset)) < case.patience();
        if !case.admitted && due && !waits {
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

    fn at(minutes: i64) -> UnixMs {
        UnixMs(1_800_000_000_000 + minutes * MINUTE_MS)
    }

    fn admits(budget: &mut Budget, fingerprint: &str, odds: f64, minutes: i64) -> bool {
        let claim = Claim { fingerprint, odds, onset: at(minutes - 2), open: false, urgent: false };
        budget.admits(&claim, at(minutes))
    }

    #[test]
    fn an_episode_is_tested_once_and_what_was_refused_again_when_it_is_surer() {
        let mut budget = Budget::default();
        assert!(!admits(&mut budget, "a", 0.01, 0));
        let after = budget.wealth.clone();
        assert!(!admits(&mut budget, "a", 0.01, 1));
        assert_eq!(budget.wealth, after, "the same again costs nothing");
        assert!(admits(&mut budget, "a", 1e-7, 2));
        let after = budget.wealth.clone();
        assert!(admits(&mut budget, "a", 0.5, 30));
        assert_eq!(budget.wealth, after);
        assert!(!admits(&mut budget, "a", 0.5, 120), "another episode");
        let open = Claim { fingerprint: "b", odds: 1.0, onset: at(0), open: true, urgent: false };
        assert!(budget.admits(&open, at(120)), "what is open is told");
        assert_eq!(Budget::decode(&budget.encode()), Some(budget.clone()));
        for n in 0..200 {
            admits(&mut budget, &format!("x{n}"), 0.5, 121);
        }
        assert_eq!(budget.cases.len(), MAX_CASES);
    }

    #[test]
    fn what_comes_and_goes_must_last_longer_than_it_did_unless_it_cannot_wait() {
        let mut budget = Budget::default();
        for hour in [0, 3, 6] {
            for minute in 2..6 {
                assert!(admits(&mut budget, "a", 1e-9, hour * 60 + minute));
            }
        }
        let claim = |urgent| Claim { fingerprint: "a", odds: 1e-9, onset: at(540), open: false, urgent };
        assert!(!budget.admits(&claim(false), at(544)));
        assert!(budget.clone().admits(&claim(true), at(544)));
        assert!(budget.admits(&claim(false), at(550)));
        // A day later it is news again.
        assert!(admits(&mut budget, "a", 1e-9, 3 * 1_440));
    }
}
