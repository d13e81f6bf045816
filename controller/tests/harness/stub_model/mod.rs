//! A server that speaks the chat protocol and does what a model's name says: `stub:<name>[@n]`.
//!
//! The sockets are its own, so that it can cut, drip, flood and lie below the level of HTTP. It keeps a
//! transcript, and notes what no server of the emulated kind should be sent. Included by path where it is
//! needed: `#[path = "…/stub_model/mod.rs"] mod stub_model;`.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "each program of tests uses its part"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
mod http;
mod quirks;
mod replies;
mod scenario;
mod sheet;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use quirks::Emulate;
pub use sheet::Sheet;

/// Every scenario's name, so that a test can see that it has a row for each.
pub use scenario::NAMES;

/// The key that the server accepts.
pub const KEY: &str = "sk-stub-0123456789abcdef-canary";

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
    /// Size of the body.
    pub bytes: usize,
    /// The scenario that answered it.
    pub scenario: String,
}

impl Seen {
    /// A header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All messages in one text.
    pub fn prompt(&self) -> String {
        let messages = self.body.get("messages").and_then(Value::as_array).cloned().unwrap_or_default();
        let texts: Vec<_> =
            messages.iter().filter_map(|message| message.get("content").and_then(Value::as_str)).collect();
        texts.join("\n")
    }
}

/// What the server remembers.
#[derive(Default)]
struct State {
    transcript: Vec<Seen>,
    violations: Vec<String>,
    calls: HashMap<String, usize>,
    script: std::collections::VecDeque<String>,
    /// Bytes of bodies that were taken off the sockets' hands.
    sent: u64,
    /// The first answer of a scenario that repeats it.
    kept: HashMap<String, String>,
    open: usize,
}

/// What connections share.
struct Shared {
    emulate: Emulate,
    second: Duration,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn seconds(&self, seconds: f64) -> Duration {
        self.second.mul_f64(seconds)
    }
}

/// The server; it ends when dropped.
pub struct StubModel {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl StubModel {
    /// Starts one on a port of its own, with seconds of the given length.
    pub async fn start(emulate: Emulate, second: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { emulate, second, state: Mutex::default() });
        let task = tokio::spawn(http::serve(listener, shared.clone()));
        Self { address, shared, task }
    }

    /// What a client is given as its base.
    pub fn base_url(&self) -> String {
        let at = format!("http://{}", self.address);
        if self.shared.emulate == Emulate::Azure { at } else { format!("{at}/v1") }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests for completions so far.
    pub fn transcript(&self) -> Vec<Seen> {
        let state = self.shared.state();
        state.transcript.iter().filter(|seen| seen.method == "POST").cloned().collect()
    }

    /// What was sent and should not have been.
    pub fn violations(&self) -> Vec<String> {
        self.shared.state().violations.clone()
    }

    /// Requests for completions so far.
    pub fn calls(&self) -> usize {
        self.transcript().len()
    }

    /// Bytes of bodies that clients took.
    pub fn sent(&self) -> u64 {
        self.shared.state().sent
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.shared.state().open
    }

    /// Scenarios for the next requests, before those by name.
    pub fn script(&self, names: &[&str]) {
        self.shared.state().script.extend(names.iter().map(|name| (*name).to_owned()));
    }

    /// Forgets everything.
    pub fn reset(&self) {
        let mut state = self.shared.state();
        let open = state.open;
        *state = State { open, ..State::default() };
    }
}

impl Drop for StubModel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The transcript for `GET /control/transcript`.
fn transcript_json(shared: &Shared) -> Value {
    let state = shared.state();
    let requests: Vec<_> = state
        .transcript
        .iter()
        .map(|seen| {
            json!({ "method": seen.method, "path": seen.path, "query": seen.query, "headers": seen.headers,
                    "body": seen.body, "scenario": seen.scenario })
        })
        .collect();
    json!({ "requests": requests, "violations": state.violations })
}
