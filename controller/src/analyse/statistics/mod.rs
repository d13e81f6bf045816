//! Statistics of the soft lane: pure, seeded, the same bits for the same numbers.
//!
//! Every sum runs in one fixed order and every draw comes from a seed, so that a recording gives on any
//! machine what it gave live. Nothing here knows what a number means.

pub mod calibrate;
pub mod change;
pub mod cusum;
pub mod distribution;
pub mod peaks;
pub mod random;
pub mod robust;
pub mod trend;
pub mod wealth;

#[cfg(test)]
mod tests;
