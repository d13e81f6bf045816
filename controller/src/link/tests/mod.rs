//! Real connections over the loopback: who gets a session, and what a session does.

mod pair;
mod refused;
mod sessions;
pub(crate) mod world;
