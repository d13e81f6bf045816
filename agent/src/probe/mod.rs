//! Asks what a probe asks, and tells how it went.
//!
//! The one engine of probes: a host's own run of it is [`host`], and the controller uses the same for the
//! probes that it runs itself. Where may be asked is the [`Gate`]'s word, taken twice: on the name before it
//! is looked up, and on every address before it is connected to. A name is looked up once and the connection
//! goes to what came of that, so nothing can change in between. Nothing of what a target says leaves this
//! module but a reason from a closed list, a number and a time.

mod dns;
pub mod host;
mod http;
mod ping;
mod resolve;
#[cfg(test)]
mod tests;
mod tls;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::{Duration, Instant};

use sysop_common::probe::{Check, Outcome, Reason};
use tokio::net::TcpStream;

/// Who says where may be asked.
pub trait Gate: Send + Sync {
    /// Whether a target of this name may be looked up and asked at `port`.
    fn allows_name(&self, name: &str, port: Option<u16>) -> bool;

    /// Whether this address may be asked at `port`; `name` is what it was looked up for.
    fn allows_address(&self, name: Option<&str>, address: IpAddr, port: Option<u16>) -> bool;

    /// The reason that a refusal is told with.
    fn refusal(&self) -> Reason;
}

/// What kept a probe from its answer, and what the reason counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failure {
    reason: Reason,
    number: i64,
    days: Option<i64>,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, number: 0, days: None }
    }
}

impl Failure {
    const fn counting(reason: Reason, number: i64) -> Self {
        Self { reason, number, days: None }
    }
}

/// An answer that is well: what there is to count, and the days that a certificate has left.
#[derive(Debug, Clone, Copy, Default)]
struct Answer {
    number: i64,
    days: Option<i64>,
    /// Time to the answer, where it is not the time that all of it took.
    micros: Option<u64>,
}

type Asked = Result<Answer, Failure>;

/// Asks once. Ends within `timeout`, whatever the target does.
pub fn ask<'a>(
    check: &'a Check,
    timeout: Duration,
    gate: &'a dyn Gate,
) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
    Box::pin(async move {
        let started = Instant::now();
        let asked = match tokio::time::timeout(timeout, question(check, timeout, gate)).await {
            Ok(asked) => asked,
            Err(_) => Err(Reason::TimedOut.into()),
        };
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        match asked {
            Ok(answer) => Outcome {
                reason: Reason::Answered,
                number: answer.number,
                micros: Some(answer.micros.unwrap_or(took)),
                days: answer.days,
            },
            Err(failure) => {
                let Failure { reason, number, days } = failure;
                // Only of what answered at all there is a time to tell.
                let answered = matches!(
                    reason,
                    Reason::Status | Reason::TextMissing | Reason::WrongAnswer | Reason::CertificateSoon
                );
                Outcome { reason, number, micros: answered.then_some(took), days }
            }
        }
    })
}

async fn question(check: &Check, timeout: Duration, gate: &dyn Gate) -> Asked {
    if check.validate().is_err() {
        return Err(Reason::NotTaken.into());
    }
    match check {
        Check::Ping { address, count } => ping::ask(address, *count, timeout, gate).await,
        Check::Tcp { host, port } => connect(host, *port, gate).await.map(|_| Answer::default()),
        Check::Http { .. } => http::ask(check, gate).await,
        Check::Tls { .. } => tls::ask(check, gate).await,
        Check::Dns { name, record, resolver, expect } => {
            dns::ask(name, *record, resolver.as_deref(), expect, gate).await
        }
    }
}

/// A connection to a name or address, tried at each of its addresses in turn.
async fn connect(host: &str, port: u16, gate: &dyn Gate) -> Result<TcpStream, Failure> {
    let addresses = resolve::addresses(host, Some(port), gate).await?;
    connect_to(&addresses, port).await
}

/// A connection to one of these addresses, which the gate allowed.
async fn connect_to(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Failure> {
    let mut why = Reason::Unreachable;
    for address in addresses {
        match TcpStream::connect(SocketAddr::new(*address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = io_reason(&error),
        }
    }
    Err(why.into())
}

fn io_reason(error: &std::io::Error) -> Reason {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Reason::ConnectionRefused,
        Kind::TimedOut => Reason::TimedOut,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
            Reason::Closed
        }
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown | Kind::AddrNotAvailable => {
            Reason::Unreachable
        }
        Kind::PermissionDenied => Reason::Unreachable,
        _ => Reason::LocalFault,
    }
}
