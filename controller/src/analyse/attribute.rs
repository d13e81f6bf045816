//! Who did it: shares of a change, and when they are clear enough to name someone. Pure.

use sysop_common::time::UnixMs;

use super::messages::Text;

/// The leader must have at least this share of the change.
const LEAST_SHARE: f64 = 0.5;
/// And be ahead of the next by this much.
const LEAST_LEAD: f64 = 0.2;
/// And at most this much may be explained by nobody.
const MOST_RESIDUAL: f64 = 0.3;

/// What one candidate contributed, above what it usually does.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<T> {
    /// Who.
    pub who: T,
    /// How much.
    pub amount: f64,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribution<T> {
    /// One is clearly ahead.
    One {
        /// Who.
        who: T,
        /// Its share in percent.
        share: u8,
    },
    /// Nobody is: nothing may be done against anyone.
    Diffuse(Split),
}

/// How a change is divided when nobody is named, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Nobody's part grew.
    Nobody,
    /// The largest part, the next, and what is nobody's.
    Parts(u8, u8, u8),
}

impl Split {
    /// As a sentence.
    #[must_use]
    pub fn told(self, say: Text) -> String {
        match self {
            Self::Nobody => say.say("diffuse.none", &[]),
            Self::Parts(first, second, rest) => {
                say.say("diffuse.split", &[("first", &first), ("second", &second), ("rest", &rest)])
            }
        }
    }
}

/// Divides a change of `whole` among `parts`: share = part / whole, residual = 1 - sum of shares.
/// Parts that sum to more than the whole (what was written may have been overwritten) share their sum.
#[must_use]
pub fn attribute<T: Clone>(whole: f64, parts: &[Part<T>]) -> Attribution<T> {
    let positive = || parts.iter().filter(|part| part.amount > 0.0);
    let sum: f64 = positive().map(|part| part.amount).sum();
    if whole.is_nan() || whole <= 0.0 || sum <= 0.0 {
        return Attribution::Diffuse(Split::Nobody);
    }
    let base = whole.max(sum);
    let residual = 1.0 - sum / base;
    let mut ranked: Vec<&Part<T>> = positive().collect();
    ranked.sort_by(|a, b| b.amount.total_cmp(&a.amount));
    let share = |at: usize| ranked.get(at).map_or(0.0, |part| part.amount / base);
    let (first, second) = (share(0), share(1));
    let percent = |share: f64| (share * 100.0).round().clamp(0.0, 100.0) as u8;
    if first < LEAST_SHARE || first - second < LEAST_LEAD || residual > MOST_RESIDUAL {
        return Attribution::Diffuse(Split::Parts(percent(first), percent(second), percent(residual)));
    }
    Attribution::One { who: ranked[0].who.clone(), share: percent(first) }
}

/// What one candidate contributed, and when it began.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed<T> {
    /// Who.
    pub who: T,
    /// How much, above what it usually does.
    pub amount: f64,
    /// When that began.
    pub onset: UnixMs,
    /// Whether it did nothing at all before.
    pub fresh: bool,
}

/// The further apart cause and effect begin, the less a share counts: half a life of this.
const FADE_MS: f64 = 120_000.0;
/// What is new counts for more.
const FRESH: f64 = 1.2;

/// As [`attribute`], with the leader by share, by how near to `onset` it began and by whether it is new.
/// Its share alone must still be enough, and nobody with another beginning may come near it.
#[must_use]
pub fn attribute_timed<T: Clone>(whole: f64, onset: Option<UnixMs>, parts: &[Timed<T>]) -> Attribution<T> {
    let positive: Vec<&Timed<T>> = parts.iter().filter(|part| part.amount > 0.0).collect();
    let sum: f64 = positive.iter().map(|part| part.amount).sum();
    if whole.is_nan() || whole <= 0.0 || sum <= 0.0 {
        return Attribution::Diffuse(Split::Nobody);
    }
    let base = whole.max(sum);
    let score = |part: &Timed<T>| {
        let apart = onset.map_or(0.0, |onset| part.onset.since(onset).unsigned_abs() as f64);
        let fresh = if part.fresh && onset.is_some() { FRESH } else { 1.0 };
        part.amount / base * (-apart / FADE_MS).exp() * fresh
    };
    let mut ranked = positive;
    ranked.sort_by(|a, b| score(b).total_cmp(&score(a)));
    let Some(first) = ranked.first() else { return Attribution::Diffuse(Split::Nobody) };
    let share = first.amount / base;
    // The largest of the others by share, whatever its beginning.
    let second = ranked[1..].iter().map(|part| part.amount / base).fold(0.0, f64::max);
    let rest = 1.0 - sum / base;
    let percent = |share: f64| (share * 100.0).round().clamp(0.0, 100.0) as u8;
    if share < LEAST_SHARE || share - second < LEAST_LEAD || rest > MOST_RESIDUAL {
        let (largest, next) = if share >= second { (share, second) } else { (second, share) };
        return Attribution::Diffuse(Split::Parts(percent(largest), percent(next), percent(rest)));
    }
    Attribution::One { who: first.who.clone(), share: percent(share) }
}
