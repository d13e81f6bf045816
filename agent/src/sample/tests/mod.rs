//! The sampler on a recorded host, on torn and foreign files, and on this host.

pub(super) mod host;
mod live;
mod recorded;
mod torn;
