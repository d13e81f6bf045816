//! The store: all SQL of the controller, one file per table.

pub mod analyser_state;
pub mod analyses;
pub mod api_tokens;
pub mod assignments;
pub mod audit;
pub mod authority;
pub mod certificates;
mod db;
pub mod enrollment_tokens;
pub mod feedback;
pub mod host_events;
pub mod host_facts;
pub mod hosts;
pub mod idempotency;
pub mod incidents;
pub mod labels;
pub mod leases;
pub mod maintenance;
pub mod model_costs;
pub mod model_prompts;
pub mod outputs;
pub mod presence;
pub mod probes;
pub mod rule_states;
pub mod rules;
pub mod run_states;
pub mod runs;
pub mod samples;
pub mod settings;
#[cfg(test)]
pub(crate) mod testing;
pub mod trust;
pub mod users;
pub mod web_sessions;

pub use db::{Conn, Db, StoreError, Tx};

/// A stored text in its own grammar.
fn parse<T>(what: &'static str, text: &str) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|e| StoreError::corrupt(what, e))
}

/// A stored JSON text.
fn json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::corrupt(what, e))
}
