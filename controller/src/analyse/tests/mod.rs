//! Hosts made of a few lines, and what must be found on them.

mod baseline;
mod entity;
mod incidents;
mod leak;
mod operator;
mod pure;
mod roots;
mod rules;
pub(super) mod seen;
mod soft;
mod sources;
mod story;

use seen::*;
