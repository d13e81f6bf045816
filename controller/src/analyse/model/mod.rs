//! The optional second opinion: asks a model about incidents that the rules have found.
//!
//! `ask` is what is said between the two halves: here the wire (`client` and what stands behind it),
//! there the evidence, the prompt and the judgement of the answer. The model is taken for hostile:
//! whatever comes back is a text until it is judged, and any failure leaves the rules' own text.

pub mod adviser;
pub mod ask;
mod body;
mod breaker;
mod bucket;
pub mod calibrate;
pub mod client;
pub mod cost;
pub mod deep;
pub mod desk;
pub mod dialogue;
pub mod error;
pub mod evidence;
pub mod extract;
mod fault;
mod flight;
pub mod gate;
pub mod gather;
#[cfg(test)]
mod hostile;
pub mod known;
pub mod language;
pub mod names;
pub mod pace;
pub mod probe;
pub mod profile;
pub mod prompt;
mod queue;
pub mod redact;
pub mod repair;
mod reply;
mod request;
mod retry;
pub mod sanitise;
pub mod schema;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transport;
pub mod tryout;
pub mod verify;
mod wire;

/// The way to the model cannot be set up. Says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model cannot be asked: {0}")]
pub struct SetUpError(String);
