//! Telling the service manager that the agent is ready and alive.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager's socket, where there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Tells nobody.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// From the variables that systemd sets (`sd_notify(3)`, `sd_watchdog_enabled(3)`).
    #[must_use]
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok();
        let watchdog = variable("WATCHDOG_USEC").and_then(|us| us.parse().ok()).map(Duration::from_micros);
        Self::new(variable("NOTIFY_SOCKET").as_deref(), watchdog)
    }

    /// With the socket's name, `@` standing for the abstract namespace.
    #[must_use]
    pub fn new(socket: Option<&str>, watchdog: Option<Duration>) -> Self {
        let address = socket.and_then(|name| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        });
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        Self { socket, watchdog }
    }

    /// How often [`Notifier::alive`] is expected at least, halved for safety.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.socket.is_some()).map(|interval| interval / 2)
    }

    /// The agent is ready.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The agent is alive.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// The agent is about to end.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            // Whoever does not listen will not miss it.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}
