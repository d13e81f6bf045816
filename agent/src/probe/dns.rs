//! DNS: one question over UDP, over TCP where the answer was cut, and a reader of answers that believes no
//! length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ring::rand::{SecureRandom as _, SystemRandom};
use sysop_common::probe::{Reason, Record, Resolver};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::{Answer, Asked, Failure, Gate, io_reason};
use crate::sample::name_servers;

/// Most bytes of an answer that are read.
const MAX_ANSWER: usize = 8 * 1024;
/// Records of an answer that are looked at.
const MAX_RECORDS: usize = 64;
/// Most bytes of one value.
const MAX_VALUE: usize = 1_024;
const PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";

pub(super) async fn ask(
    name: &str,
    record: Record,
    resolver: Option<&str>,
    expect: &[String],
    gate: &dyn Gate,
) -> Asked {
    let name = name.trim_end_matches('.');
    if !gate.allows_name(name, Some(PORT)) {
        return Err(gate.refusal().into());
    }
    let servers = match resolver {
        Some(text) => {
            let at = Resolver::parse(text).ok_or(Failure::from(Reason::NotTaken))?.0;
            if !gate.allows_address(None, at.ip(), Some(at.port())) {
                return Err(gate.refusal().into());
            }
            vec![at]
        }
        // The prober's own, as every lookup of a name uses them.
        None => {
            let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
            name_servers(&text).into_iter().map(|ip| SocketAddr::new(ip, PORT)).collect()
        }
    };
    let mut why = Failure::from(Reason::NameFailed);
    for server in servers {
        match exchange(server, name, record).await {
            Ok(values) => return judge(&values, record, expect),
            Err(failure) => why = failure,
        }
        // That there is no such name is an answer.
        if why.reason == Reason::NameUnknown {
            break;
        }
    }
    Err(why)
}

fn judge(values: &[String], record: Record, expect: &[String]) -> Asked {
    if values.is_empty() {
        return Err(Reason::NoRecord.into());
    }
    let same = |expected: &str, value: &String| match record {
        Record::A | Record::Aaaa => {
            expected.parse::<IpAddr>().is_ok_and(|one| value.parse::<IpAddr>() == Ok(one))
        }
        Record::Txt => expected == value,
        Record::Cname | Record::Mx => expected.trim_end_matches('.').eq_ignore_ascii_case(value),
    };
    let missing = expect.iter().filter(|expected| !values.iter().any(|value| same(expected, value))).count();
    match i64::try_from(missing) {
        Ok(0) => Ok(Answer::default()),
        missing => Err(Failure::counting(Reason::WrongAnswer, missing.unwrap_or(i64::MAX))),
    }
}

async fn exchange(server: SocketAddr, name: &str, record: Record) -> Result<Vec<String>, Failure> {
    let mut id = [0; 2];
    SystemRandom::new().fill(&mut id).map_err(|_| Failure::from(Reason::LocalFault))?;
    let question = question(u16::from_be_bytes(id), name, record).ok_or(Failure::from(Reason::NotTaken))?;
    let io = |error: std::io::Error| Failure::from(io_reason(&error));
    let local: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).await.map_err(io)?;
    socket.connect(server).await.map_err(io)?;
    socket.send(&question).await.map_err(io)?;
    let mut bytes = vec![0; MAX_ANSWER];
    // Bounded: whoever floods with what is no answer does not keep the probe busy until its end.
    for _ in 0..64 {
        let length = socket.recv(&mut bytes).await.map_err(io)?;
        match read(bytes.get(..length).unwrap_or_default(), &question, record) {
            Read::NotOurs => {}
            Read::Cut => return over_tcp(server, &question, record).await,
            Read::Values(values) => return Ok(values),
            Read::Failed(reason) => return Err(reason.into()),
        }
    }
    Err(Reason::Malformed.into())
}

async fn over_tcp(server: SocketAddr, question: &[u8], record: Record) -> Result<Vec<String>, Failure> {
    let io = |error: std::io::Error| Failure::from(io_reason(&error));
    let mut stream = TcpStream::connect(server).await.map_err(io)?;
    let length = u16::try_from(question.len()).unwrap_or(0).to_be_bytes();
    stream.write_all(&[&length, question].concat()).await.map_err(io)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await.map_err(io)?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_ANSWER {
        return Err(Reason::Malformed.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(io)?;
    match read(&bytes, question, record) {
        Read::Values(values) => Ok(values),
        Read::Failed(reason) => Err(reason.into()),
        Read::NotOurs | Read::Cut => Err(Reason::Malformed.into()),
    }
}

/// A question in the wire form, recursion desired.
fn question(id: u16, name: &str, record: Record) -> Option<Vec<u8>> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&record.number().to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    Some(out)
}

/// What bytes from a name server are.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// No answer to this question.
    NotOurs,
    /// An answer that was cut: ask over TCP.
    Cut,
    /// The values of the asked type.
    Values(Vec<String>),
    /// No values, and why.
    Failed(Reason),
}

fn read(bytes: &[u8], question: &[u8], record: Record) -> Read {
    let Some(header) = bytes.first_chunk::<12>() else { return Read::NotOurs };
    let asked = question.get(12..).unwrap_or_default();
    let echoed = bytes.get(12..12 + asked.len()).unwrap_or_default();
    if header[..2] != question[..2] || header[2] & 0x80 == 0 || !echoed.eq_ignore_ascii_case(asked) {
        return Read::NotOurs;
    }
    match header[3] & 0x0f {
        0 if header[2] & 0x02 != 0 => Read::Cut,
        0 => values(bytes, 12 + asked.len(), u16::from_be_bytes([header[6], header[7]]), record)
            .map_or(Read::Failed(Reason::Malformed), Read::Values),
        3 => Read::Failed(Reason::NameUnknown),
        _ => Read::Failed(Reason::NameFailed),
    }
}

/// The values of type `record` among `count` records from `at` on; `None` when they do not read.
fn values(bytes: &[u8], mut at: usize, count: u16, record: Record) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for _ in 0..usize::from(count).min(MAX_RECORDS) {
        at = name_at(bytes, at)?.1;
        let head = bytes.get(at..at + 10)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[8], head[9]]));
        let start = at + 10;
        let data = bytes.get(start..start + length)?;
        if kind == record.number() {
            found.push(value(bytes, start, data, record)?);
        }
        at = start + length;
    }
    Some(found)
}

fn value(bytes: &[u8], start: usize, data: &[u8], record: Record) -> Option<String> {
    Some(match record {
        Record::A => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string(),
        Record::Aaaa => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string(),
        Record::Cname => name_at(bytes, start)?.0,
        Record::Mx => {
            let preference = u16::from_be_bytes(*data.first_chunk::<2>()?);
            format!("{preference} {}", name_at(bytes, start + 2)?.0)
        }
        Record::Txt => {
            let (mut text, mut rest) = (Vec::new(), data);
            while let Some((length, after)) = rest.split_first() {
                text.extend_from_slice(after.get(..usize::from(*length))?);
                rest = after.get(usize::from(*length)..)?;
            }
            text.truncate(MAX_VALUE);
            String::from_utf8_lossy(&text).into_owned()
        }
    })
}

/// The name at `at`, in lower case, and where it ends. Pointers lead backwards only, so it comes to an end.
fn name_at(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    let (mut name, mut here, mut end) = (String::new(), at, None);
    loop {
        let length = usize::from(*bytes.get(here)?);
        match length {
            0 => return Some((name, end.unwrap_or(here + 1))),
            1..=63 => {
                let label = bytes.get(here + 1..here + 1 + length)?;
                if name.len() + length > 255 {
                    return None;
                }
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
                here += 1 + length;
            }
            192.. => {
                let to = (length & 0x3f) << 8 | usize::from(*bytes.get(here + 1)?);
                end = end.or(Some(here + 2));
                if to >= here {
                    return None;
                }
                here = to;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_through_pointers_and_loops_end() {
        let asked = question(7, "a.example", Record::Mx).unwrap();
        let mut answer = asked.clone();
        (answer[2], answer[7]) = (0x81, 1);
        answer.extend_from_slice(&[
            0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 9, 0, 9, 0, 10, 4, b'M', b'a', b'i', b'l', 0xc0, 14,
        ]);
        assert_eq!(read(&answer, &asked, Record::Mx), Read::Values(vec!["10 mail.example".into()]));
        let at = answer.len() - 2;
        (answer[at], answer[at + 1]) = (0xc0, u8::try_from(at).unwrap());
        assert_eq!(read(&answer, &asked, Record::Mx), Read::Failed(Reason::Malformed));
        assert_eq!(read(&answer, &question(8, "a.example", Record::Mx).unwrap(), Record::Mx), Read::NotOurs);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_reader(tail in prop::collection::vec(any::<u8>(), 0..120), count in any::<u8>(), kind in 0usize..5) {
            let record = Record::ALL[kind];
            let asked = question(7, "a.example", record).unwrap();
            let mut answer = asked.clone();
            (answer[2], answer[7]) = (0x81, count);
            answer.extend_from_slice(&tail);
            read(&answer, &asked, record);
            read(&tail, &asked, record);
        }
    }
}
