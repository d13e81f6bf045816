//! Sessions with agents: one QUIC endpoint and one TLS listener on the same port, the same frames on both.
//!
//! The application protocol decides what a connection may do: `sysop/1` needs a host's certificate before
//! any byte is read, `sysop-enroll/1` gets one request and one answer. Who a peer is comes from its TLS
//! session alone. The link knows no SQL and takes no decision: it asks through [`ports`].

pub mod ports;
mod registry;

pub use registry::{Delivered, NotConnected, QueryError, Registry, SessionView};
