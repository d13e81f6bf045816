//! The store: all SQL of the controller, one file per table.

mod db;

pub use db::{Db, StoreError};
