//! Hosts made of a few lines, and what must be found on them.

mod baseline;
mod incidents;
mod pure;
mod roots;
mod rules;
mod seen;
mod soft;
mod story;

use seen::*;
