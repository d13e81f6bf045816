//! Rules of operators: a small language over the series of a host, and how a rule comes to fire.
//!
//! Everything here is pure: rules, what is remembered of them and samples come in; what stands goes out. So
//! the analyser, which makes incidents of it, and the pages, which say why a rule fires or does not, work
//! it out in the same way from the same samples. What cannot be known is unknown; it is never taken for
//! false or for zero.

pub mod board;
pub mod definition;
pub mod explain;
pub mod language;
pub mod must_run;
pub mod preview;
pub mod series;
pub mod standing;
pub mod state;
#[cfg(test)]
mod tests;
pub mod truth;

pub use definition::{Wrong, check};
pub use standing::{Cell, Compiled, Standing, Verdict, look};
pub use state::States;

/// Most rules of one controller.
pub const MAX_RULES: u64 = 200;
/// Most bytes of an expression.
pub const MAX_EXPRESSION: usize = 1_000;
/// Most labels of a host that one rule is judged for, such as its file systems.
pub const MAX_INSTANCES: usize = 64;
