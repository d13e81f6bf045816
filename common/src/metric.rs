//! The metrics that samples carry: numbers that stay for ever, names, units, scales.
//!
//! Counters travel and are stored raw, as they come from the kernel; rates are derived on reading.
//! A value is a fixed-point integer: the measured quantity times `scale`.

use serde::{Deserialize, Serialize};

/// Number of a metric. Never reused, never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MetricId(pub u16);

/// What a value counts, before any rate is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A plain number.
    Count,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// 0 or 1.
    Flag,
}

/// Whether a value goes up for ever or moves freely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only grows, until a reset to a smaller value. Read as a rate.
    Counter,
    /// Read as it is.
    Gauge,
}

/// What the label of a metric's column names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// One column per host, empty label.
    None,
    /// Number of the core, `0`, `1`, …
    Core,
    /// Mount point.
    Mount,
    /// Block device, `sda`.
    Device,
    /// Network interface, `eth0`.
    Interface,
    /// Name of the agent's sensor, `disk`.
    Sensor,
    /// systemd unit, `nginx.service`.
    Unit,
    /// Process id of a process that the same tick describes; for [`TASK_STUCK`] followed by a blank and
    /// the kernel function that it waits in, `?` where that may not be read.
    Process,
    /// Remote address, `203.0.113.7`.
    Source,
    /// Command of a timed job, without secrets.
    Job,
    /// `journal`, or the path of a log file.
    Log,
    /// Number of a probe.
    Probe,
    /// TCP port, `443`; [`MORE_PORTS`] where there are more than are told.
    Port,
}

/// The label that stands for ports beyond those that are told one by one.
pub const MORE_PORTS: &str = "more";

/// A metric's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its number.
    pub id: MetricId,
    /// Its name in the API: family, dot, subject.
    pub name: &'static str,
    /// Unit of the value divided by `scale`.
    pub unit: Unit,
    /// Counter or gauge.
    pub kind: Kind,
    /// Stored integer = quantity × scale.
    pub scale: u32,
    /// What its label names.
    pub label: Label,
}

macro_rules! metrics {
    ($($id:literal $constant:ident $name:literal $unit:ident $kind:ident $scale:literal $label:ident;)*) => {
        $(#[doc = concat!("`", $name, "`")] pub const $constant: MetricId = MetricId($id);)*
        /// All metrics, by number.
        pub const ALL: &[Metric] = &[$(Metric {
            id: MetricId($id), name: $name, unit: Unit::$unit, kind: Kind::$kind, scale: $scale, label: Label::$label,
        }),*];
    };
}

metrics! {
    // /proc/stat, all cores together; time in each mode
    1 CPU_USER "cpu.user" Ms Counter 1 None;
    2 CPU_NICE "cpu.nice" Ms Counter 1 None;
    3 CPU_SYSTEM "cpu.system" Ms Counter 1 None;
    4 CPU_IDLE "cpu.idle" Ms Counter 1 None;
    5 CPU_IOWAIT "cpu.iowait" Ms Counter 1 None;
    6 CPU_IRQ "cpu.irq" Ms Counter 1 None;
    7 CPU_SOFTIRQ "cpu.softirq" Ms Counter 1 None;
    8 CPU_STEAL "cpu.steal" Ms Counter 1 None;
    9 CPU_CORES "cpu.cores" Count Gauge 1 None;
    10 CPU_CORE_BUSY "cpu.core.busy" Ms Counter 1 Core;
    20 LOAD_1 "load.1" Count Gauge 100 None;
    21 LOAD_5 "load.5" Count Gauge 100 None;
    22 LOAD_15 "load.15" Count Gauge 100 None;
    23 PROCS_RUNNING "procs.running" Count Gauge 1 None;
    24 PROCS_BLOCKED "procs.blocked" Count Gauge 1 None;
    25 PROCS_TOTAL "procs.total" Count Gauge 1 None;
    26 THREADS_TOTAL "threads.total" Count Gauge 1 None;
    27 PROCS_FORKED "procs.forked" Count Counter 1 None;
    28 CONTEXT_SWITCHES "kernel.context_switches" Count Counter 1 None;
    29 INTERRUPTS "kernel.interrupts" Count Counter 1 None;
    // /proc/pressure: time in which some, or all, tasks stood still
    30 PSI_CPU_SOME "psi.cpu.some" Us Counter 1 None;
    31 PSI_CPU_FULL "psi.cpu.full" Us Counter 1 None;
    32 PSI_MEMORY_SOME "psi.memory.some" Us Counter 1 None;
    33 PSI_MEMORY_FULL "psi.memory.full" Us Counter 1 None;
    34 PSI_IO_SOME "psi.io.some" Us Counter 1 None;
    35 PSI_IO_FULL "psi.io.full" Us Counter 1 None;
    // /proc/meminfo, /proc/vmstat
    40 MEMORY_TOTAL "memory.total" Bytes Gauge 1 None;
    41 MEMORY_FREE "memory.free" Bytes Gauge 1 None;
    42 MEMORY_AVAILABLE "memory.available" Bytes Gauge 1 None;
    43 MEMORY_BUFFERS "memory.buffers" Bytes Gauge 1 None;
    44 MEMORY_CACHED "memory.cached" Bytes Gauge 1 None;
    45 MEMORY_SHARED "memory.shared" Bytes Gauge 1 None;
    46 MEMORY_ANON "memory.anon" Bytes Gauge 1 None;
    47 MEMORY_SLAB_RECLAIMABLE "memory.slab_reclaimable" Bytes Gauge 1 None;
    48 MEMORY_SLAB_UNRECLAIMABLE "memory.slab_unreclaimable" Bytes Gauge 1 None;
    49 MEMORY_DIRTY "memory.dirty" Bytes Gauge 1 None;
    50 MEMORY_COMMITTED "memory.committed" Bytes Gauge 1 None;
    51 SWAP_TOTAL "swap.total" Bytes Gauge 1 None;
    52 SWAP_FREE "swap.free" Bytes Gauge 1 None;
    53 SWAP_IN "swap.in" Bytes Counter 1 None;
    54 SWAP_OUT "swap.out" Bytes Counter 1 None;
    55 MEMORY_MAJOR_FAULTS "memory.major_faults" Count Counter 1 None;
    56 MEMORY_OOM_KILLS "memory.oom_kills" Count Counter 1 None;
    // statvfs per mount
    60 FS_TOTAL "fs.total" Bytes Gauge 1 Mount;
    61 FS_FREE "fs.free" Bytes Gauge 1 Mount;
    62 FS_AVAILABLE "fs.available" Bytes Gauge 1 Mount;
    63 FS_INODES_TOTAL "fs.inodes.total" Count Gauge 1 Mount;
    64 FS_INODES_FREE "fs.inodes.free" Count Gauge 1 Mount;
    65 FS_READ_ONLY "fs.read_only" Flag Gauge 1 Mount;
    // /proc/diskstats
    70 DISK_READS "disk.reads" Count Counter 1 Device;
    71 DISK_READ_BYTES "disk.read_bytes" Bytes Counter 1 Device;
    72 DISK_READ_TIME "disk.read_time" Ms Counter 1 Device;
    73 DISK_WRITES "disk.writes" Count Counter 1 Device;
    74 DISK_WRITE_BYTES "disk.write_bytes" Bytes Counter 1 Device;
    75 DISK_WRITE_TIME "disk.write_time" Ms Counter 1 Device;
    76 DISK_BUSY "disk.busy" Ms Counter 1 Device;
    77 DISK_IN_FLIGHT "disk.in_flight" Count Gauge 1 Device;
    // /proc/net/dev, /sys/class/net
    80 NET_RX_BYTES "net.rx_bytes" Bytes Counter 1 Interface;
    81 NET_RX_PACKETS "net.rx_packets" Count Counter 1 Interface;
    82 NET_RX_ERRORS "net.rx_errors" Count Counter 1 Interface;
    83 NET_RX_DROPS "net.rx_drops" Count Counter 1 Interface;
    84 NET_TX_BYTES "net.tx_bytes" Bytes Counter 1 Interface;
    85 NET_TX_PACKETS "net.tx_packets" Count Counter 1 Interface;
    86 NET_TX_ERRORS "net.tx_errors" Count Counter 1 Interface;
    87 NET_TX_DROPS "net.tx_drops" Count Counter 1 Interface;
    88 NET_UP "net.up" Flag Gauge 1 Interface;
    // /proc/net/snmp, netstat, sockstat, tcp
    100 TCP_ESTABLISHED "tcp.established" Count Gauge 1 None;
    101 TCP_TIME_WAIT "tcp.time_wait" Count Gauge 1 None;
    102 TCP_LISTEN "tcp.listen" Count Gauge 1 None;
    103 TCP_SYN_RECEIVED "tcp.syn_received" Count Gauge 1 None;
    104 TCP_CLOSE_WAIT "tcp.close_wait" Count Gauge 1 None;
    105 TCP_OUT_SEGMENTS "tcp.out_segments" Count Counter 1 None;
    106 TCP_RETRANSMITS "tcp.retransmits" Count Counter 1 None;
    107 TCP_LISTEN_OVERFLOWS "tcp.listen_overflows" Count Counter 1 None;
    108 UDP_IN_ERRORS "udp.in_errors" Count Counter 1 None;
    // kernel tables
    120 FD_USED "fd.used" Count Gauge 1 None;
    121 FD_MAX "fd.max" Count Gauge 1 None;
    122 PID_MAX "pid.max" Count Gauge 1 None;
    123 CONNTRACK_USED "conntrack.used" Count Gauge 1 None;
    124 CONNTRACK_MAX "conntrack.max" Count Gauge 1 None;
    130 HOST_UPTIME "host.uptime" Ms Gauge 1 None;
    131 CLOCK_OFFSET "clock.offset" Us Gauge 1 None;
    132 CLOCK_SYNCED "clock.synced" Flag Gauge 1 None;
    // the agent about itself
    150 AGENT_RSS "agent.rss" Bytes Gauge 1 None;
    151 AGENT_CPU "agent.cpu" Ms Counter 1 None;
    152 AGENT_SPOOL_BYTES "agent.spool_bytes" Bytes Gauge 1 None;
    153 AGENT_SENSOR_TIME "agent.sensor_time" Us Gauge 1 Sensor;
    154 AGENT_SENSOR_FAILED "agent.sensor_failed" Flag Gauge 1 Sensor;
    // limits of units, only where there is one that matters
    160 UNIT_CPU_PERIODS "unit.cpu.periods" Count Counter 1 Unit;
    161 UNIT_CPU_THROTTLED "unit.cpu.throttled" Count Counter 1 Unit;
    162 UNIT_PIDS "unit.pids" Count Gauge 1 Unit;
    163 UNIT_PIDS_MAX "unit.pids.max" Count Gauge 1 Unit;
    164 UNIT_PIDS_REFUSED "unit.pids.refused" Count Counter 1 Unit;
    165 UNIT_MEMORY_HIGH "unit.memory.high" Count Counter 1 Unit;
    166 UNIT_MEMORY_MAX "unit.memory.max" Count Counter 1 Unit;
    167 UNIT_MEMORY_LIMIT "unit.memory.limit" Bytes Gauge 1 Unit;
    168 UNIT_IO_READ_LIMIT "unit.io.read_limit" Bytes Gauge 1 Unit;
    169 UNIT_IO_WRITE_LIMIT "unit.io.write_limit" Bytes Gauge 1 Unit;
    // single processes in trouble, described among the tick's processes
    180 TASKS_ZOMBIE "tasks.zombie" Count Gauge 1 None;
    181 TASK_ZOMBIES "task.zombies" Count Gauge 1 Process;
    182 TASK_STUCK "task.stuck" Ms Gauge 1 Process;
    183 TASK_STOPPED "task.stopped" Ms Gauge 1 Process;
    184 TASK_FDS "task.fds" Count Gauge 1 Process;
    185 TASK_FDS_MAX "task.fds.max" Count Gauge 1 Process;
    186 TASK_DELETED_OPEN "task.deleted_open" Bytes Gauge 1 Process;
    187 FS_DELETED_OPEN "fs.deleted_open" Bytes Gauge 1 Mount;
    188 JOB_RUNS "job.runs" Count Gauge 1 Job;
    // sign-ins, from the records that the programs of the system keep of them
    200 SIGNIN_FAILED "signin.failed" Count Counter 1 None;
    201 SIGNIN_ACCEPTED "signin.accepted" Count Counter 1 None;
    202 SIGNIN_FAILED_5M "signin.failed.5m" Count Gauge 1 Source;
    203 SIGNIN_FAILED_60M "signin.failed.60m" Count Gauge 1 Source;
    204 SIGNIN_ACCEPTED_30D "signin.accepted.30d" Count Gauge 1 Source;
    205 SIGNIN_SOURCES "signin.sources" Count Gauge 1 None;
    // the agent's own questions to the resolvers of the host
    210 DNS_TRIES "dns.tries" Count Counter 1 None;
    211 DNS_FAILURES "dns.failures" Count Counter 1 None;
    // inbound connections
    220 TCP_INBOUND "tcp.inbound" Count Gauge 1 None;
    221 TCP_INBOUND_FROM "tcp.inbound.from" Count Gauge 1 Source;
    222 TCP_LISTENING "tcp.listening" Flag Gauge 1 Port;
    // growth of logs
    230 LOG_BYTES "log.bytes" Bytes Counter 1 Log;
    // probes that this host runs, as they stood after the last try: numbers of `crate::probe`
    240 PROBE_RUNS "probe.runs" Count Gauge 1 Probe;
    241 PROBE_STATE "probe.state" Count Gauge 1 Probe;
    242 PROBE_REASON "probe.reason" Count Gauge 1 Probe;
    243 PROBE_NUMBER "probe.number" Count Gauge 1 Probe;
    244 PROBE_TIME "probe.time" Us Gauge 1 Probe;
    245 PROBE_DAYS "probe.certificate_days" Count Gauge 1 Probe;
}

/// The definition of metric `id`, if this version knows it.
#[must_use]
pub fn by_id(id: MetricId) -> Option<&'static Metric> {
    ALL.binary_search_by_key(&id, |metric| metric.id).ok().map(|at| &ALL[at])
}

/// The definition of the metric called `name`.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Metric> {
    ALL.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_names_are_unique() {
        assert!(ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert_eq!(by_id(MEMORY_TOTAL).unwrap().name, "memory.total");
        assert_eq!(by_name("psi.io.full").unwrap().id, PSI_IO_FULL);
        assert!(by_id(MetricId(9999)).is_none());
    }
}
