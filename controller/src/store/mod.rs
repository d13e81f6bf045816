//! The store: all SQL of the controller, one file per table.

pub mod api_tokens;
mod db;
pub mod idempotency;
pub mod samples;
pub mod users;
pub mod web_sessions;

pub use db::{Db, StoreError};
