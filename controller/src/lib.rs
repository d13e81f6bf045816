//! The controller: takes samples in, stores and analyses them, decides, dispatches repairs, and
//! shows all of it.
//!
//! Each step has a folder of its name and knows only its neighbours. Steps are woken, not fed
//! (see [`wake`]): a signal means "look again", the state comes from the store.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_macros))]
#![forbid(unsafe_code)]

pub mod analyse;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decide;
pub mod dispatch;
pub mod identity;
pub mod ingest;
pub mod link;
pub mod probe;
pub mod quickstart;
pub mod rules;
pub mod run;
pub mod store;
pub mod wake;
pub mod web;
