//! Dashboard and API: who may ask what, pages and their parts, live streams.
//!
//! The web knows the store and wakes the steps that act; it never sends an action itself.

pub mod admit;
pub mod api;
pub mod assets;
pub mod auth;
pub mod context;
pub mod csrf;
pub mod envelope;
pub mod error;
pub mod events;
pub mod extract;
pub mod flash;
pub mod idempotency;
pub mod layout;
pub mod limits;
pub mod models;
pub mod pages;
pub mod peer;
pub mod readings;
pub mod router;
pub mod serve;
pub mod session;
pub mod state;
pub mod summary;
mod sweep;
#[cfg(test)]
mod tests;
pub mod widgets;

pub use serve::{TlsError, serve, tls_config, tls_from_files};
pub use state::{AppState, Inputs};
