//! The agents that others use, from Debian's packages: unpacked beside the build, never installed, so
//! that no service of theirs starts and none is left.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::process::Watched;
use super::scrape::Scraper;
use crate::shell::{capture, find, succeeds};

const PACKAGES: [&str; 2] = ["prometheus-node-exporter", "collectd-core"];
const EXPORTER_PORT: u16 = 19_101;
const SINK_PORT: u16 = 25_826;
/// What of node_exporter is closest to what our agent looks at.
const COLLECTORS: [&str; 8] =
    ["cpu", "meminfo", "diskstats", "filesystem", "netdev", "loadavg", "stat", "processes"];
const PLUGINS: [&str; 10] =
    ["cpu", "memory", "df", "interface", "processes", "load", "disk", "swap", "uptime", "network"];

/// A peer and what it sent so far.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) process: Watched,
    pub(crate) sent: Arc<Sent>,
}

/// Counted by the thread that takes a peer's data.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    bytes: AtomicU64,
    values: AtomicU64,
    stop: AtomicBool,
}

impl Sent {
    /// Bytes and values so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.values.load(Ordering::Relaxed))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.sent.stop.store(true, Ordering::Relaxed);
    }
}

/// Unpacks the packages below `folder`, once, and returns their root.
pub(crate) fn unpack(folder: &Path) -> Result<PathBuf> {
    unpack_packages(folder, &PACKAGES, &["usr/sbin/collectd", "usr/bin/prometheus-node-exporter"])
}

/// Unpacks `packages` below `folder`, unless their `programs` are there, and returns their root.
pub(crate) fn unpack_packages(folder: &Path, packages: &[&str], programs: &[&str]) -> Result<PathBuf> {
    let root = folder.join("peers");
    if programs.iter().all(|program| root.join(program).exists()) {
        return Ok(root);
    }
    if find("apt-get").is_none() || find("dpkg").is_none() {
        bail!("the peers come from Debian's packages {}: run this on Debian", packages.join(" and "));
    }
    fs::create_dir_all(&root)?;
    let download = || succeeds(Command::new("apt-get").arg("download").args(packages).current_dir(&root));
    let update = || succeeds(Command::new("apt-get").args(["update", "--quiet"]));
    // A machine's package list may be too old or absent.
    if !(download()? || (update()? && download()?)) {
        bail!("could not download {}: see what apt-get says above", packages.join(" and "));
    }
    for entry in fs::read_dir(&root)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            capture(Command::new("dpkg").arg("-x").arg(&path).arg(&root))?
                .map_err(|text| anyhow::anyhow!("dpkg -x {}: {text}", path.display()))?;
        }
    }
    Ok(root)
}

/// Starts node_exporter and a scraper that asks it at `interval`.
pub(crate) fn node_exporter(root: &Path, interval: Duration) -> Result<Peer> {
    let mut command = Command::new(root.join("usr/bin/prometheus-node-exporter"));
    command.arg(format!("--web.listen-address=127.0.0.1:{EXPORTER_PORT}"));
    command.args(["--web.disable-exporter-metrics", "--collector.disable-defaults"]);
    command.args(COLLECTORS.map(|name| format!("--collector.{name}")));
    let process = Watched::start("node_exporter", &mut command)?;
    let mut scraper = Scraper::connect(EXPORTER_PORT)?;
    // Counted without compression, once: this side has no decompressor.
    let plain = scraper.scrape(false)?.body;
    let values = plain.split(|b| *b == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count();
    let sent = Arc::new(Sent::default());
    let counter = Arc::clone(&sent);
    std::thread::spawn(move || {
        let mut next = Instant::now();
        while !counter.stop.load(Ordering::Relaxed) {
            let Ok(scrape) = scraper.scrape(true) else { return };
            counter.bytes.fetch_add(scrape.bytes as u64, Ordering::Relaxed);
            counter.values.fetch_add(values as u64, Ordering::Relaxed);
            next += interval;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    Ok(Peer { process, sent })
}

/// Starts collectd at `interval`, sending over UDP without encryption, and a sink for it.
pub(crate) fn collectd(root: &Path, folder: &Path, interval: Duration) -> Result<Peer> {
    let sink = UdpSocket::bind(("127.0.0.1", SINK_PORT))
        .with_context(|| format!("could not listen on 127.0.0.1:{SINK_PORT}"))?;
    sink.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut config = format!(
        "Hostname \"h1\"\nFQDNLookup false\nInterval {}\nBaseDir \"{}\"\nPIDFile \"{}\"\nPluginDir \"{}\"\n\
         TypesDB \"{}\"\n",
        interval.as_secs(),
        folder.display(),
        folder.join("collectd.pid").display(),
        root.join("usr/lib/collectd").display(),
        root.join("usr/share/collectd/types.db").display(),
    );
    for plugin in PLUGINS {
        config += &format!("LoadPlugin {plugin}\n");
    }
    config += "<Plugin df>\n FSType \"ext4\"\n</Plugin>\n";
    config += &format!("<Plugin network>\n Server \"127.0.0.1\" \"{SINK_PORT}\"\n</Plugin>\n");
    let file = folder.join("collectd.conf");
    fs::write(&file, config).with_context(|| format!("could not write {}", file.display()))?;
    let mut command = Command::new(root.join("usr/sbin/collectd"));
    command.arg("-f").arg("-C").arg(&file);
    let process = Watched::start("collectd", &mut command)?;
    let sent = Arc::new(Sent::default());
    let counter = Arc::clone(&sent);
    std::thread::spawn(move || {
        let mut packet = [0; 65_536];
        while !counter.stop.load(Ordering::Relaxed) {
            let Ok(length) = sink.recv(&mut packet) else { continue };
            counter.bytes.fetch_add(length as u64, Ordering::Relaxed);
            counter.values.fetch_add(values_in(&packet[..length]), Ordering::Relaxed);
        }
    });
    Ok(Peer { process, sent })
}

/// Values in a packet of collectd's binary protocol: parts of type, length and content; part 6 holds
/// values, led by their number.
fn values_in(mut packet: &[u8]) -> u64 {
    let mut values = 0;
    while let [kind_high, kind_low, high, low, rest @ ..] = packet {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if (*kind_high, *kind_low) == (0, 6)
            && let [high, low, ..] = rest
        {
            values += u64::from(u16::from_be_bytes([*high, *low]));
        }
        match packet.get(length..) {
            Some(rest) if length >= 4 => packet = rest,
            _ => break,
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_packet_are_counted_and_torn_packets_end_it() {
        let host = [0, 0, 0, 7, b'h', b'1', 0];
        let values = [0, 6, 0, 24, 0, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(values_in(&[&host[..], &values, &values].concat()), 4);
        assert_eq!(values_in(&[&host[..], &values[..10]].concat()), 2);
        assert_eq!(values_in(&[0, 6, 0, 0, 0, 2]), 2);
        assert_eq!(values_in(&[]), 0);
    }
}
