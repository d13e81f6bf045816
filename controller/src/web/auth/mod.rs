//! Who may come in: passwords, sessions, tokens, the first account.

pub mod password;
pub mod principal;
pub mod secret;
pub mod setup;
pub mod sign_in;
pub mod throttle;

pub use password::Hasher;
pub use principal::{Principal, Way};
pub use setup::{FirstRun, Setup, SetupError};
pub use throttle::Throttle;
