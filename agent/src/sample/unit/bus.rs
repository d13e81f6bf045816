//! A connection to the system bus: authentication, calls, replies within a time limit.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::wire::{self, Call, FIXED, Incoming, Malformed};

/// Why the bus could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// The socket does not take, or lost, the connection.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bus does not accept the agent's user.
    #[error("authentication refused: {0:?}")]
    Refused(String),
    /// Bytes do not follow the protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// It failed in a look before this one, and is tried again later.
    #[error("{0}")]
    Before(String),
    /// The called method failed.
    #[error("systemd answered with an error")]
    Failed,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    /// Bytes that came in and do not yet make a message, or the message handed out last.
    inbox: Vec<u8>,
    /// Length of the message handed out last.
    used: usize,
    serial: u32,
}

impl Bus {
    /// Connects, authenticates by the socket's credentials, and registers.
    pub(super) fn connect(path: &Path, deadline: Instant) -> Result<Self, BusError> {
        let mut bus = Self { stream: open(path, left(deadline)?)?, inbox: Vec::new(), used: 0, serial: 0 };
        let uid = rustix::process::geteuid().as_raw().to_string();
        let auth = format!("\0AUTH EXTERNAL {}\r\n", sysop_common::ids::hex(uid.as_bytes()));
        bus.stream.write_all(auth.as_bytes()).map_err(timed_out)?;
        let answer = bus.auth_line(deadline)?;
        if !answer.starts_with("OK ") {
            return Err(BusError::Refused(answer));
        }
        bus.stream.write_all(b"BEGIN\r\n")?;
        let hello = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
        };
        let serial = bus.send(&[hello], deadline)?;
        bus.receive(deadline, |incoming| (incoming.answers == serial).then_some(()))?;
        Ok(bus)
    }

    /// One line of the authentication, which the bus ends before any message.
    fn auth_line(&mut self, deadline: Instant) -> Result<String, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            self.fill(deadline)?;
            line.append(&mut self.inbox);
            if line.len() > 512 {
                return Err(Malformed.into());
            }
        }
        Ok(String::from_utf8_lossy(line.trim_ascii()).into_owned())
    }

    /// Sends calls in one piece and returns the serial of the first; the others follow it.
    pub(super) fn send(&mut self, calls: &[Call<'_>], deadline: Instant) -> Result<u32, BusError> {
        let first = self.serial.wrapping_add(1).max(1);
        let mut out = Vec::new();
        for (at, call) in (0..).zip(calls) {
            self.serial = first.wrapping_add(at);
            call.write(self.serial, &mut out);
        }
        self.stream.set_write_timeout(Some(left(deadline)?))?;
        self.stream.write_all(&out).map_err(timed_out)?;
        Ok(first)
    }

    /// Hands messages to `take` until it returns something. What it does not want, such as signals and
    /// answers to calls given up before, is dropped.
    pub(super) fn receive<T>(
        &mut self,
        deadline: Instant,
        mut take: impl FnMut(Incoming<'_>) -> Option<T>,
    ) -> Result<T, BusError> {
        loop {
            self.next(deadline)?;
            if let Some(value) = take(wire::parse(&self.inbox[..self.used])?) {
                return Ok(value);
            }
        }
    }

    /// Brings the next message to the front of the inbox.
    fn next(&mut self, deadline: Instant) -> Result<(), BusError> {
        self.inbox.drain(..std::mem::take(&mut self.used));
        loop {
            if let Some(fixed) = self.inbox.first_chunk::<FIXED>() {
                let length = wire::message_length(fixed)?;
                if self.inbox.len() >= length {
                    self.used = length;
                    return Ok(());
                }
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Instant) -> Result<(), BusError> {
        let mut buffer = [0; 16 * 1024];
        self.stream.set_read_timeout(Some(left(deadline)?))?;
        match self.stream.read(&mut buffer).map_err(timed_out)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            length => {
                self.inbox.extend_from_slice(&buffer[..length]);
                Ok(())
            }
        }
    }
}

/// Opens the socket. A connection to a bus whose queue is full waits, so the limit is set before.
fn open(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Time left, which a socket's limit must not round down to "none".
fn left(deadline: Instant) -> Result<Duration, BusError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(BusError::Timeout) } else { Ok(left.max(Duration::from_millis(1))) }
}

fn timed_out(error: io::Error) -> BusError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => BusError::Timeout,
        _ => error.into(),
    }
}
