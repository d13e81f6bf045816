//! VictoriaMetrics beside us in the same run: the same number of hosts and values, in the order of time, by
//! Prometheus' remote write. It gets the easier task: no encryption, one connection, nothing that must be on
//! disk before the answer.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use super::peers;
use super::process::Watched;

pub(super) const NAME: &str =
    "VictoriaMetrics of Debian, same run, remote write on one connection, no TLS, no durable ack";
const PACKAGE: &str = "victoria-metrics";
const PROGRAM: &str = "usr/bin/victoria-metrics";
const PORT: u16 = 19_428;
const INTERVAL_MS: u64 = 10_000;
/// Hosts in one request.
const TOGETHER: usize = 10;
/// However slow the machine is, no longer than this.
const AT_MOST: Duration = Duration::from_secs(120);
/// What it does after the last request belongs to taking in.
const SETTLE: Duration = Duration::from_secs(3);

/// What it cost.
pub(super) struct Cost {
    pub(super) values_per_cpu_second: f64,
    pub(super) resident: u64,
    pub(super) values: u64,
}

/// Sends `ticks` ticks of `hosts` hosts with `columns` values each.
pub(super) fn run(folder: &Path, hosts: usize, columns: usize, ticks: usize) -> Result<Cost> {
    let root = peers::unpack_packages(folder, &[PACKAGE], &[PROGRAM])?;
    let data = folder.join("victoria-data");
    let _ = std::fs::remove_dir_all(&data);
    let mut command = Command::new(root.join(PROGRAM));
    command.arg(format!("-storageDataPath={}", data.display()));
    command.arg(format!("-httpListenAddr=127.0.0.1:{PORT}"));
    command.args(["-retentionPeriod=12", "-search.disableCache=true", "-loggerLevel=ERROR"]);
    let process = Watched::start("victoria-metrics", &mut command)?;
    let mut writer = RemoteWrite::connect()?;
    std::thread::sleep(SETTLE);
    let (before, start) = (process.cpu()?, Instant::now());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let first = now.as_millis() as u64 - ticks as u64 * INTERVAL_MS;
    let mut fleet = Fleet::new(hosts, columns);
    let mut values = 0;
    for tick in 0..ticks {
        if start.elapsed() > AT_MOST {
            break;
        }
        for at in (0..hosts).step_by(TOGETHER) {
            let body = fleet.request(at..(at + TOGETHER).min(hosts), first + tick as u64 * INTERVAL_MS);
            writer.send(&body)?;
        }
        values += (hosts * columns) as u64;
    }
    std::thread::sleep(SETTLE);
    let cpu = process.cpu()?.saturating_sub(before).as_secs_f64();
    let resident = process.memory()?.resident;
    drop(process);
    let _ = std::fs::remove_dir_all(&data);
    Ok(Cost { values_per_cpu_second: values as f64 / cpu.max(1e-3), resident, values })
}

/// A connection that writes.
struct RemoteWrite(BufReader<TcpStream>);

impl RemoteWrite {
    fn connect() -> Result<Self> {
        for _ in 0..100 {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", PORT)) {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(30)))?;
                return Ok(Self(BufReader::new(stream)));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("VictoriaMetrics does not listen on 127.0.0.1:{PORT}; is the port taken?")
    }

    fn send(&mut self, plain: &[u8]) -> Result<()> {
        let body = snappy(plain);
        let head = format!(
            "POST /api/v1/write HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nContent-Encoding: snappy\r\n\
             Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        if !line.contains(" 204") {
            bail!("VictoriaMetrics answered {}", line.trim());
        }
        while line != "\r\n" {
            line.clear();
            if self.0.read_line(&mut line)? == 0 {
                bail!("VictoriaMetrics closed the connection");
            }
        }
        Ok(())
    }
}

/// The values of all hosts, moving as those of the simulated agents do: half of them stand still.
struct Fleet {
    labels: Vec<Vec<u8>>,
    values: Vec<u64>,
    columns: usize,
    noise: u64,
}

impl Fleet {
    fn new(hosts: usize, columns: usize) -> Self {
        let series = (0..hosts).flat_map(|host| (0..columns).map(move |column| (host, column)));
        let labels = series.map(|(host, column)| labels(host, column)).collect();
        Self { labels, values: vec![1 << 20; hosts * columns], columns, noise: 0x9e37_79b9_7f4a_7c15 }
    }

    fn next(&mut self) -> u64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise
    }

    /// A write request with one sample of each series of some hosts.
    fn request(&mut self, hosts: std::ops::Range<usize>, at_ms: u64) -> Vec<u8> {
        let mut body = Vec::new();
        for series in hosts.start * self.columns..hosts.end * self.columns {
            let noise = self.next();
            if noise & 1 == 0 {
                self.values[series] += (noise >> 8) % 50_000;
            }
            let mut sample = vec![0x09];
            sample.extend_from_slice(&(self.values[series] as f64).to_le_bytes());
            sample.push(0x10);
            varint(&mut sample, at_ms);
            let mut one = self.labels[series].clone();
            field(&mut one, 0x12, &sample);
            field(&mut body, 0x0a, &one);
        }
        body
    }
}

/// Labels of one series as they stand in a request, sorted by name.
fn labels(host: usize, column: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let pairs = [
        ("__name__", format!("metric_{:02}", column / 4)),
        ("host", format!("bench-{host:04}")),
        ("job", "fleet".to_owned()),
        ("label", format!("{}", column % 4)),
    ];
    for (name, value) in pairs {
        let mut pair = Vec::new();
        field(&mut pair, 0x0a, name.as_bytes());
        field(&mut pair, 0x12, value.as_bytes());
        field(&mut all, 0x0a, &pair);
    }
    all
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A valid stream of snappy without any compression: reading it costs the peer a copy, less than unpacking.
fn snappy(plain: &[u8]) -> Vec<u8> {
    /// Literal with a length of two bytes.
    const LITERAL: u8 = 61 << 2;
    let mut out = Vec::with_capacity(plain.len() + plain.len() / 65_536 * 3 + 8);
    varint(&mut out, plain.len() as u64);
    for piece in plain.chunks(65_536) {
        out.push(LITERAL);
        out.extend_from_slice(&((piece.len() - 1) as u16).to_le_bytes());
        out.extend_from_slice(piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_has_the_form_of_a_write_request() {
        assert_eq!(snappy(b"abc"), [3, 0xf4, 2, 0, b'a', b'b', b'c']);
        let big = snappy(&vec![7; 65_537]);
        assert_eq!((big.len(), &big[..3]), (65_537 + 3 + 6, &[0x81, 0x80, 4][..]));
        let body = Fleet::new(2, 3).request(0..2, 5);
        // Six series, each within its own field.
        let (mut rest, mut series) = (&body[..], 0);
        while let [0x0a, len, tail @ ..] = rest {
            rest = &tail[usize::from(*len)..];
            series += 1;
        }
        assert_eq!((series, rest.len()), (6, 0));
    }
}
