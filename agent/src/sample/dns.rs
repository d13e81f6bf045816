//! Whether the host's resolvers answer: a question for the servers of the root, asked of the name servers of
//! `resolv.conf` in turn. Any answer but "server failure" counts, since a resolver may refuse the question
//! and still do its work.
//!
//! Nothing waits: the answer is taken in a later look. One question a minute while all is well, one in each
//! look after a failure. That a resolver knows the root by heart while its own way out is cut is not seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sysop_common::metric;

use super::read::{ReadError, read_once};
use super::sensor::{Cycle, Output, Sensor};

/// A question without an answer at the look after this long has failed. One that comes before that look, however
/// late, is taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Name servers that the resolver library asks.
const SERVERS: usize = 3;
/// Answers in a row after which one question a minute is enough again.
const CALM: u32 = 3;
const PORT: u16 = 53;
const SERVER_FAILURE: u8 = 2;

/// The sensor of name resolution.
#[derive(Debug)]
pub(super) struct Dns {
    config: PathBuf,
    port: u16,
    servers: Vec<IpAddr>,
    next: usize,
    id: u16,
    asked: Option<Asked>,
    answered: u32,
    tries: u64,
    failures: u64,
}

#[derive(Debug)]
struct Asked {
    socket: UdpSocket,
    id: u16,
    waited: Duration,
}

impl Dns {
    pub(super) fn new(etc: &Path) -> Self {
        Self {
            config: etc.join("resolv.conf"),
            port: PORT,
            servers: Vec::new(),
            next: 0,
            id: 0,
            asked: None,
            answered: CALM,
            tries: 0,
            failures: 0,
        }
    }

    /// Takes what came of the last question.
    fn settle(&mut self, elapsed: Duration) {
        let Some(mut asked) = self.asked.take() else { return };
        let mut answer = [0; 512];
        // Bounded: whoever sends what is no answer must not hold up the look.
        for _ in 0..32 {
            match asked.socket.recv(&mut answer) {
                Ok(length) => match verdict(answer.get(..length).unwrap_or_default(), asked.id) {
                    Some(good) => return self.count(good),
                    None => continue,
                },
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // Nobody listens there, or the network is gone.
                Err(_) => return self.count(false),
            }
        }
        asked.waited += elapsed;
        if asked.waited >= PATIENCE {
            self.count(false);
        } else {
            self.asked = Some(asked);
        }
    }

    fn count(&mut self, good: bool) {
        self.tries += 1;
        self.failures += u64::from(!good);
        self.answered = if good { self.answered.saturating_add(1) } else { 0 };
    }

    fn ask(&mut self) {
        let Some(server) = self.servers.get(self.next % self.servers.len().max(1)).copied() else { return };
        self.next = self.next.wrapping_add(1);
        self.id = self.id.wrapping_mul(25_173).wrapping_add(13_849);
        let local: IpAddr = match server {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let sent = UdpSocket::bind((local, 0)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect(SocketAddr::new(server, self.port))?;
            socket.send(&question(self.id))?;
            Ok(socket)
        });
        match sent {
            Ok(socket) => self.asked = Some(Asked { socket, id: self.id, waited: Duration::ZERO }),
            Err(_) => self.count(false),
        }
    }
}

/// `. NS IN`, recursion desired.
fn question(id: u16) -> [u8; 17] {
    let [high, low] = id.to_be_bytes();
    [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1]
}

/// Whether an answer to question `id` is a good one; `None` when it is no answer to it.
fn verdict(answer: &[u8], id: u16) -> Option<bool> {
    let header = answer.first_chunk::<12>()?;
    let is_answer = u16::from_be_bytes([header[0], header[1]]) == id && header[2] & 0x80 != 0;
    is_answer.then_some(header[3] & 0x0f != SERVER_FAILURE)
}

/// The name servers of `resolv.conf`; the local one when it names none, as the resolver library has it.
pub(crate) fn servers(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let word = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        // An address with a zone cannot be asked without its interface.
        word.parse().ok()
    };
    let found: Vec<IpAddr> = text.lines().filter_map(address).take(SERVERS).collect();
    if found.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { found }
}

impl Sensor for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        if cycle.slow {
            self.servers = match read_once(&self.config) {
                Ok(text) => servers(&text),
                // A host without this file resolves names in another way.
                Err(error) if error.is_absent() => Vec::new(),
                Err(error) => return Err(error),
            };
        }
        self.settle(cycle.elapsed);
        if self.asked.is_none() && (cycle.slow || self.answered < CALM) {
            self.ask();
        }
        let known = !self.servers.is_empty();
        out.put(metric::DNS_TRIES, known.then_some(self.tries));
        out.put(metric::DNS_FAILURES, known.then_some(self.failures));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sysop_common::sample::NOT_OBSERVED;

    fn look(sensor: &mut Dns, number: u64) -> Vec<i64> {
        let mut out = Output::default();
        out.begin();
        let elapsed = Duration::from_secs(10);
        let mut cycle = Cycle { number, slow: number.is_multiple_of(6), elapsed, ..Cycle::default() };
        sensor.read(&mut cycle, &mut out).unwrap();
        out.commit();
        out.values().to_vec()
    }

    #[test]
    fn answers_are_counted_failures_too_and_a_failure_is_followed_by_more_questions() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let etc = tempfile::tempdir().unwrap();
        let mut sensor = Dns::new(etc.path());
        assert_eq!(look(&mut sensor, 0), [NOT_OBSERVED; 2]);
        std::fs::write(etc.path().join("resolv.conf"), "# x\nsearch a\nnameserver 127.0.0.1\n").unwrap();
        sensor.port = server.local_addr().unwrap().port();
        let mut expected = Vec::new();
        let (mut tries, mut failures) = (0, 0);
        // The code answered to each question; `None` for silence.
        for (number, code) in
            [(6, Some(0)), (12, Some(2)), (13, None), (14, Some(5)), (15, Some(3)), (16, Some(0))]
        {
            assert_eq!(look(&mut sensor, number), [tries, failures], "look {number}");
            let mut bytes = [0; 64];
            let (length, from) = server.recv_from(&mut bytes).unwrap();
            assert_eq!(length, 17);
            if let Some(code) = code {
                server.send_to(b"noise that is no answer", from).unwrap();
                bytes[2] |= 0x80;
                bytes[3] = code;
                server.send_to(&bytes[..length], from).unwrap();
            }
            tries += 1;
            failures += i64::from(matches!(code, None | Some(2)));
            expected.push((tries, failures));
        }
        assert_eq!(look(&mut sensor, 17), [6, 2]);
        assert!(sensor.asked.is_none(), "three answers in a row, and one question a minute is enough");
    }

    #[test]
    fn servers_are_read_as_the_resolver_library_does() {
        let text =
            "nameserver 192.0.2.1\n nameserver 2001:db8::1\nnameserver fe80::1%eth0\n#nameserver 192.0.2.9\n";
        assert_eq!(servers(text).len(), 2);
        assert_eq!(servers("options edns0\n"), [IpAddr::from(Ipv4Addr::LOCALHOST)]);
        assert_eq!(verdict(&[0; 5], 0), None);
        assert_eq!(verdict(&question(7), 7), None);
    }
}
