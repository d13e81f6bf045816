//! `/proc/net/{snmp,netstat,sockstat}`: connections, segments, retransmits, overflows; states that only
//! the kernel's socket list knows are asked for once a minute.

mod diag;
mod sources;

use std::collections::BTreeMap;
use std::path::Path;

use sysop_common::metric;

use super::read::{KeptFile, ReadError, Text};
use super::sensor::{Cycle, Output, Sensor};

/// The TCP sensor.
#[derive(Debug)]
pub(super) struct Tcp {
    snmp: KeptFile,
    netstat: KeptFile,
    sockstat: KeptFile,
    states: Option<diag::States>,
    ports: Ports,
    sources: sources::Sources,
    /// Off in tests on recorded trees: the socket list cannot be recorded.
    ask_kernel: bool,
}

impl Tcp {
    pub(super) fn new(proc: &Path) -> Self {
        Self {
            snmp: KeptFile::new(proc.join("net/snmp")),
            netstat: KeptFile::new(proc.join("net/netstat")),
            sockstat: KeptFile::new(proc.join("net/sockstat")),
            states: None,
            ports: Ports::default(),
            sources: sources::Sources::default(),
            ask_kernel: proc == Path::new("/proc"),
        }
    }
}

/// Ports that were listened on since the agent began, and whether they are now; at most
/// [`diag::MAX_PORTS`]. Each is a column, and a change of columns costs every rate a tick: so a port stays
/// once it is there, and nobody can make the columns change more often than there is room for.
#[derive(Debug, Default)]
struct Ports {
    now: BTreeMap<u16, Option<u64>>,
    more: bool,
}

impl Ports {
    fn look(&mut self, states: Option<&diag::States>) {
        let Some(states) = states else {
            self.now.values_mut().for_each(|on| *on = None);
            return;
        };
        for (port, on) in &mut self.now {
            // Of those that were cut off nothing is known.
            let unknown = states.more && states.ports.last().is_some_and(|last| port > last);
            *on = (!unknown).then(|| u64::from(states.ports.contains(port)));
        }
        for port in &states.ports {
            if !self.now.contains_key(port) && self.now.len() < diag::MAX_PORTS {
                self.now.insert(*port, Some(1));
            }
        }
        self.more = states.more || states.ports.iter().any(|port| !self.now.contains_key(port));
    }

    fn put(&self, out: &mut Output) {
        for (port, on) in &self.now {
            out.put_labelled(metric::TCP_LISTENING, &port.to_string(), *on);
        }
        if self.more {
            out.put_labelled(metric::TCP_LISTENING, metric::MORE_PORTS, Some(1));
        }
    }
}

impl Sensor for Tcp {
    fn name(&self) -> &'static str {
        "tcp"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        if cycle.slow && self.ask_kernel {
            self.states = diag::count().ok();
            self.ports.look(self.states.as_ref());
        }
        let snmp = self.snmp.read()?;
        let [established, out_segments, retransmits] =
            table(snmp, b"Tcp:", &["CurrEstab", "OutSegs", "RetransSegs"])?;
        let [udp_errors] = table(snmp, b"Udp:", &["InErrors"])?;
        let time_wait = time_wait(self.sockstat.read()?)?;
        let [overflows] = match self.netstat.read_optional()? {
            Some(netstat) => table(netstat, b"TcpExt:", &["ListenOverflows"])?,
            None => [None],
        };
        out.put(metric::TCP_ESTABLISHED, established);
        out.put(metric::TCP_TIME_WAIT, time_wait);
        out.put(metric::TCP_LISTEN, self.states.as_ref().map(|states| states.listen));
        out.put(metric::TCP_SYN_RECEIVED, self.states.as_ref().map(|states| states.syn_received));
        out.put(metric::TCP_CLOSE_WAIT, self.states.as_ref().map(|states| states.close_wait));
        out.put(metric::TCP_OUT_SEGMENTS, out_segments);
        out.put(metric::TCP_RETRANSMITS, retransmits);
        out.put(metric::TCP_LISTEN_OVERFLOWS, overflows);
        out.put(metric::UDP_IN_ERRORS, udp_errors);
        self.ports.put(out);
        if self.ask_kernel {
            self.sources.look(cycle.slow, established);
        }
        self.sources.put(out);
        Ok(())
    }
}

/// Values of `items` in a table of two lines, names above numbers, both led by `family`.
fn table<const N: usize>(
    text: Text<'_>,
    family: &[u8],
    items: &[&'static str; N],
) -> Result<[Option<u64>; N], ReadError> {
    let mut lines = text.lines().filter_map(|mut line| (line.word() == Some(family)).then_some(line));
    let (Some(mut names), Some(mut numbers)) = (lines.next(), lines.next()) else {
        return Err(text.missing(items.first().unwrap_or(&"table")));
    };
    let mut values = [None; N];
    while let (Some(name), Some(value)) = (names.word(), numbers.word()) {
        let Some(at) = items.iter().position(|item| item.as_bytes() == name) else { continue };
        values[at] = Some(super::read::number(value).ok_or_else(|| numbers.bad(items[at], value))?);
        if values.iter().all(Option::is_some) {
            break;
        }
    }
    Ok(values)
}

/// The number behind `tw` in the line of TCP sockets.
fn time_wait(text: Text<'_>) -> Result<Option<u64>, ReadError> {
    let Some(mut line) = text.lines().find_map(|mut line| (line.word() == Some(b"TCP:")).then_some(line))
    else {
        return Ok(None);
    };
    while let Some(word) = line.word() {
        if word == b"tw" {
            return line.number("tw").map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_keeps_its_column_and_columns_are_bounded() {
        let mut ports = Ports::default();
        let states = |of: &[u16], more| diag::States {
            ports: of.iter().copied().collect(),
            more,
            ..diag::States::default()
        };
        ports.look(Some(&states(&[22, 5432], false)));
        ports.look(Some(&states(&[22], false)));
        assert_eq!(ports.now, BTreeMap::from([(22, Some(1)), (5432, Some(0))]));
        ports.look(Some(&states(&[22, 80], true)));
        assert_eq!(ports.now[&5432], None, "it may be among those that were cut off");
        for port in 1_000..2_000 {
            ports.look(Some(&states(&[port], false)));
        }
        assert_eq!((ports.now.len(), ports.more), (diag::MAX_PORTS, true));
        assert_eq!(ports.now[&5432], Some(0));
        ports.look(None);
        assert!(ports.now.values().all(Option::is_none));
    }
}
