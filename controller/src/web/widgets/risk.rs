//! Computed risk: rising bars and a word.

use maud::{Markup, html};

pub use sysop_common::action::Risk;

/// Class and word with a capital.
const fn shown(level: Risk) -> (&'static str, &'static str) {
    match level {
        Risk::Low => ("risk low", "Low"),
        Risk::Medium => ("risk medium", "Medium"),
        Risk::High => ("risk high", "High"),
    }
}

/// Three bars, as many filled as the risk is high, and the word.
#[must_use]
pub fn risk(level: Risk) -> Markup {
    let (class, word) = shown(level);
    let filled = level as u8;
    html! {
        span class=(class) {
            svg viewBox="0 0 13 13" aria-hidden="true" {
                @for (at, x, y, height) in [(0, "0", "8", "5"), (1, "4.6", "4.6", "8.4"), (2, "9.2", "1.2", "11.8")] {
                    rect x=(x) y=(y) width="3.4" height=(height) rx="1" fill="currentColor"
                        opacity=(if at <= filled { "1" } else { ".25" }) {}
                }
            }
            (word) " risk"
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
    /// Why, in one line; may be empty.
    pub why: String,
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
                @if !factor.why.is_empty() { span.why { (factor.why) } }
            }
        }
    }
}
