//! One file per page: its view structs and its view; handlers fill the structs.

pub mod add_host;
pub mod analyses;
pub mod approvals;
pub mod audit;
pub mod automation;
mod entrance;
pub mod errors;
#[cfg(test)]
mod gallery;
pub mod host;
pub mod hosts;
pub mod incident;
pub mod incidents;
pub mod login;
pub mod model;
pub mod opinion;
pub mod overview;
pub mod password;
pub mod probes;
pub mod proposal;
pub mod retention;
pub mod rules;
pub mod run;
pub mod run_new;
pub mod runs;
pub mod settings;
pub mod setup;
pub mod shared;
pub mod source;
pub mod words;
