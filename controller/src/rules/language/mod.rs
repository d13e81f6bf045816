//! The language of expressions: small, total, bounded.
//!
//! ```text
//! truth      = all { "or" all }            all   = not { "and" not }
//! not        = "not" not | comparison      comparison = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
//! sum        = product { ("+" | "-") product }     product = sign { ("*" | "/") sign }
//! sign       = "-" sign | value
//! value      = number [ unit ] | "(" truth ")" | series | function
//! function   = ("avg" | "min" | "max" | "rate" | "delta") "(" series "," number unit ")" | "absent" "(" series ")"
//! series     = name [ "{" label ("=" | "!=") '"' text '"' "}" ]
//! unit       = "%" | "B" | "KiB" | "MiB" | "GiB" | "TiB" | one of these "/s" | "ms" | "s" | "min" | "h" | "d"
//! ```
//!
//! Names are those of the API (`GET /api/v1/metrics`), read as there: counters as rates, shares of one.

mod evaluate;
mod lex;
mod parse;
#[cfg(test)]
mod tests;
mod tree;
mod write;

pub use evaluate::{Outcome, Table, Why};
pub use parse::parse;
pub use tree::{Compare, Expression, Function, Kind, Leaf, Literal, Math, Node, Selector, UNITS, label_key};

/// Deepest nesting.
const MAX_DEPTH: usize = 24;
/// Most series that one expression reads.
pub const MAX_LEAVES: usize = 16;
/// Longest window of a function, in ms: as far back as samples are whole in memory.
pub const MAX_WINDOW_MS: i64 = 15 * 60_000;

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}; {remedy}")]
pub struct Fault {
    /// Where, counted in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}
