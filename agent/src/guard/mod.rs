//! The owner's policy and the decision about one order. Default is no.
//!
//! [`check::admit`] and [`check::check`] are pure: what they need to know is gathered before. Only
//! this module makes a [`Permitted`], and the journal starts nothing else.

pub mod check;
mod describe;
pub mod facts;
pub mod owned;
mod parse;
pub mod protected;
mod rules;
mod template;
#[cfg(test)]
mod tests;

pub use check::{Admitted, History, Permitted, Refused, Verdict};
pub use describe::describe_file;
pub use facts::Facts;
pub use parse::PolicyError;
pub use rules::{POLICY_PATH, Policy};
pub use template::{AllowClass, ClassError, template};
