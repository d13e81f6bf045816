//! Computed risk: rising bars and a word.

use maud::{Markup, html};

/// How much an action can cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Easily taken back.
    Low,
    /// Noticed by users for a moment, or on several hosts.
    Medium,
    /// Cannot be taken back, or hurts when it is wrong.
    High,
}

impl Risk {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Low => "risk low",
            Self::Medium => "risk medium",
            Self::High => "risk high",
        }
    }
}

/// Three bars, as many filled as the risk is high, and the word.
#[must_use]
pub fn risk(level: Risk) -> Markup {
    let filled = level as u8;
    html! {
        span class=(level.class()) {
            svg viewBox="0 0 13 13" aria-hidden="true" {
                @for (at, x, y, height) in [(0, "0", "8", "5"), (1, "4.6", "4.6", "8.4"), (2, "9.2", "1.2", "11.8")] {
                    rect x=(x) y=(y) width="3.4" height=(height) rx="1" fill="currentColor"
                        opacity=(if at <= filled { "1" } else { ".25" }) {}
                }
            }
            (level.word()) " risk"
        }
    }
}

/// One thing that the computed risk took into account.
#[derive(Debug, Clone)]
pub struct Factor {
    /// What was looked at: `Target`, `Blast radius`.
    pub name: String,
    /// What was found: `tier-1`, `1 host`.
    pub found: String,
    /// How much it adds, 0 to 1.
    pub weight: f64,
}

/// The factors, one bar each.
#[must_use]
pub fn factors(list: &[Factor]) -> Markup {
    html! {
        @for factor in list {
            div.factor {
                span.t2 { (factor.name) }
                (super::bar::wide(factor.weight, if factor.weight > 0.6 { "warn" } else { "" }))
                span.fv { (factor.found) }
            }
        }
    }
}
