//! `/proc/net/dev` and `/sys/class/net`: traffic, errors and state of the host's interfaces.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sysop_common::metric;

use super::read::{KeptFile, ReadError};
use super::sensor::{Cycle, Output, Sensor};

/// Most interfaces with columns.
pub(super) const MAX_INTERFACES: usize = 64;

/// Interfaces of containers and tunnels' templates come and go in masses and say nothing about the
/// host; what they carry is counted again where it leaves the host.
const LEFT_OUT: [&str; 11] =
    ["veth", "ifb", "dummy", "cali", "lxc", "vnet", "tunl", "sit", "gre", "erspan", "ip6"];

/// The network sensor.
#[derive(Debug)]
pub(super) struct Network {
    dev: KeptFile,
    class: PathBuf,
    states: HashMap<String, KeptFile>,
}

impl Network {
    pub(super) fn new(proc: &Path, sys: &Path) -> Self {
        Self {
            dev: KeptFile::new(proc.join("net/dev")),
            class: sys.join("class/net"),
            states: HashMap::new(),
        }
    }
}

/// Whether an interface is one that people look at.
pub(super) fn is_shown(name: &str) -> bool {
    name != "lo" && !LEFT_OUT.iter().any(|prefix| name.starts_with(prefix))
}

impl Sensor for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        if cycle.slow {
            // Names of interfaces that left for good must not pile up.
            self.states.clear();
        }
        let text = self.dev.read()?;
        let mut interfaces = 0;
        // Two lines of headings.
        for mut line in text.lines().skip(2) {
            let Some(colon) = line.rest.iter().position(|b| *b == b':') else { continue };
            let Ok(name) = std::str::from_utf8(line.rest[..colon].trim_ascii()) else { continue };
            line.rest = &line.rest[colon + 1..];
            let items = [
                "rx bytes",
                "rx packets",
                "rx errors",
                "rx drops",
                "rx fifo",
                "rx frame",
                "rx compressed",
                "rx multicast",
                "tx bytes",
                "tx packets",
                "tx errors",
                "tx drops",
            ];
            let numbers = line.numbers(&items)?;
            if !is_shown(name) {
                continue;
            }
            interfaces += 1;
            if interfaces > MAX_INTERFACES {
                break;
            }
            let [rx, rx_packets, rx_errors, rx_drops, _, _, _, _, tx, tx_packets, tx_errors, tx_drops] =
                numbers;
            out.put_labelled(metric::NET_RX_BYTES, name, Some(rx));
            out.put_labelled(metric::NET_RX_PACKETS, name, Some(rx_packets));
            out.put_labelled(metric::NET_RX_ERRORS, name, Some(rx_errors));
            out.put_labelled(metric::NET_RX_DROPS, name, Some(rx_drops));
            out.put_labelled(metric::NET_TX_BYTES, name, Some(tx));
            out.put_labelled(metric::NET_TX_PACKETS, name, Some(tx_packets));
            out.put_labelled(metric::NET_TX_ERRORS, name, Some(tx_errors));
            out.put_labelled(metric::NET_TX_DROPS, name, Some(tx_drops));
            out.put_labelled(metric::NET_UP, name, is_up(&mut self.states, &self.class, name));
        }
        Ok(())
    }
}

/// 1 while the link works. Tunnels cannot tell and say `unknown`, which counts as up.
fn is_up(states: &mut HashMap<String, KeptFile>, class: &Path, name: &str) -> Option<u64> {
    if !states.contains_key(name) {
        states.insert(name.to_owned(), KeptFile::new(class.join(name).join("operstate")));
    }
    let text = states.get_mut(name)?.read_record().ok()?;
    Some(u64::from(matches!(text.bytes.trim_ascii(), b"up" | b"unknown")))
}
