//! The series of a host that have a baseline, and how each is measured over a minute.

use sysop_common::finding::Category;
use sysop_common::metric::{self, MetricId};

use crate::analyse::window::Look;

/// A series of a host; some have one per disk or per network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Busy part of all CPU time, without what runs at low priority and without steal.
    CpuBusy,
    /// Tasks that run or want to, per core.
    RunQueue,
    /// Part of the time in which some task waited for a processor.
    PsiCpu,
    /// Part of the time in which all tasks waited for memory.
    PsiMemoryFull,
    /// Part of the time in which some task waited for memory.
    PsiMemorySome,
    /// Part of the time in which all tasks waited for storage.
    PsiIoFull,
    /// Part of CPU time that the machine below took.
    Steal,
    /// Part of CPU time spent idle with storage requests under way.
    IoWait,
    /// Part of memory that is not available.
    MemoryUsed,
    /// Part of memory that is anonymous.
    MemoryAnon,
    /// Bytes per second that came back from swap.
    SwapIn,
    /// Part of sent segments that were sent again.
    Retransmits,
    /// New processes per second.
    Forks,
    /// Part of the table of tracked connections that is used.
    Conntrack,
    /// Part of the host's file handles that is used.
    Files,
    /// Half-open connections.
    SynReceived,
    /// Established connections.
    Established,
    /// Connections per second that no listener took in time.
    Overflows,
    /// Milliseconds per request of a disk.
    DiskAwait,
    /// Part of the time in which a disk was busy.
    DiskBusy,
    /// Bytes per second over an interface.
    NetBytes,
    /// Part of packets of an interface with an error.
    NetErrors,
}

/// What a signal's label names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// The host.
    Host,
    /// A disk.
    Disk,
    /// A network interface.
    Interface,
}

/// Fewer packets, segments or requests in a minute say nothing of their errors.
const LEAST_EVENTS: f64 = 100.0;

impl Signal {
    /// All, the most telling first: where room is short the last ones are left out.
    pub const ALL: [Self; 22] = [
        Self::CpuBusy,
        Self::RunQueue,
        Self::PsiCpu,
        Self::PsiMemoryFull,
        Self::PsiMemorySome,
        Self::PsiIoFull,
        Self::Steal,
        Self::IoWait,
        Self::MemoryUsed,
        Self::MemoryAnon,
        Self::SwapIn,
        Self::Retransmits,
        Self::Forks,
        Self::Conntrack,
        Self::Files,
        Self::SynReceived,
        Self::Established,
        Self::Overflows,
        Self::DiskAwait,
        Self::DiskBusy,
        Self::NetBytes,
        Self::NetErrors,
    ];

    /// What its label names.
    #[must_use]
    pub const fn per(self) -> Per {
        match self {
            Self::DiskAwait | Self::DiskBusy => Per::Disk,
            Self::NetBytes | Self::NetErrors => Per::Interface,
            _ => Per::Host,
        }
    }

    /// The least standard deviation that is believed, in the signal's unit: below it differences mean
    /// nothing to anybody, however still a series was.
    #[must_use]
    pub const fn floor(self) -> f64 {
        match self {
            Self::CpuBusy | Self::IoWait => 0.02,
            Self::RunQueue => 0.25,
            Self::PsiCpu | Self::PsiMemoryFull | Self::PsiMemorySome | Self::PsiIoFull => 0.01,
            Self::Steal => 0.005,
            Self::MemoryUsed | Self::MemoryAnon | Self::Conntrack | Self::Files => 0.01,
            Self::SwapIn => 65_536.0,
            Self::Retransmits => 0.002,
            Self::Forks => 1.0,
            Self::SynReceived => 4.0,
            Self::Established => 5.0,
            Self::Overflows => 0.05,
            Self::DiskAwait => 1.0,
            Self::DiskBusy => 0.03,
            Self::NetBytes => 10_240.0,
            Self::NetErrors => 0.001,
        }
    }

    /// Trouble of this category is about this signal: while it is open nothing is learned from it.
    #[must_use]
    pub const fn of(self, category: Category) -> bool {
        match category {
            Category::CpuPressure | Category::CpuThrottled => {
                matches!(self, Self::CpuBusy | Self::RunQueue | Self::PsiCpu)
            }
            Category::CpuSteal => matches!(self, Self::Steal | Self::RunQueue | Self::PsiCpu),
            Category::IoPressure | Category::StuckProcess | Category::LogFlood => {
                matches!(self, Self::PsiIoFull | Self::IoWait | Self::DiskAwait | Self::DiskBusy)
            }
            Category::MemoryPressure | Category::MemoryLeak | Category::OomKill => matches!(
                self,
                Self::PsiMemoryFull
                    | Self::PsiMemorySome
                    | Self::MemoryUsed
                    | Self::MemoryAnon
                    | Self::SwapIn
                    | Self::PsiIoFull
            ),
            Category::NetLoss => matches!(self, Self::Retransmits | Self::NetErrors | Self::NetBytes),
            Category::ConnectionFlood => matches!(
                self,
                Self::Conntrack | Self::SynReceived | Self::Established | Self::Overflows | Self::NetBytes
            ),
            Category::FdExhaustion => matches!(self, Self::Files),
            Category::PidExhaustion | Category::UnitFlapping => matches!(self, Self::Forks),
            _ => false,
        }
    }

    /// Its value over `looks`: the first one is the end of the time before, from which counters grow.
    /// `None` when it was not observed, or too little happened to tell.
    #[must_use]
    pub fn measure(self, label: &str, looks: &[Look<'_>]) -> Option<f64> {
        let span = Span::of(looks, label)?;
        let host = |id| span.grown_of(id, "");
        match self {
            Self::CpuBusy => {
                let busy = [metric::CPU_USER, metric::CPU_SYSTEM, metric::CPU_IRQ, metric::CPU_SOFTIRQ];
                Some(busy.into_iter().filter_map(host).sum::<f64>() / span.cpu()?)
            }
            Self::Steal => Some(host(metric::CPU_STEAL)? / span.cpu()?),
            Self::IoWait => Some(host(metric::CPU_IOWAIT)? / span.cpu()?),
            Self::RunQueue => {
                let cores = span.mean(metric::CPU_CORES).filter(|cores| *cores > 0.0)?;
                Some(span.mean(metric::PROCS_RUNNING)? / cores)
            }
            Self::PsiCpu => span.stalled(metric::PSI_CPU_SOME),
            Self::PsiMemoryFull => span.stalled(metric::PSI_MEMORY_FULL),
            Self::PsiMemorySome => span.stalled(metric::PSI_MEMORY_SOME),
            Self::PsiIoFull => span.stalled(metric::PSI_IO_FULL),
            Self::MemoryUsed => {
                let total = span.mean(metric::MEMORY_TOTAL).filter(|total| *total > 0.0)?;
                Some((1.0 - span.mean(metric::MEMORY_AVAILABLE)? / total).max(0.0))
            }
            Self::MemoryAnon => span.ratio(metric::MEMORY_ANON, metric::MEMORY_TOTAL),
            Self::SwapIn => Some(host(metric::SWAP_IN)? / span.seconds()),
            Self::Retransmits => span.share(&[metric::TCP_RETRANSMITS], &[metric::TCP_OUT_SEGMENTS], ""),
            Self::Forks => Some(host(metric::PROCS_FORKED)? / span.seconds()),
            Self::Conntrack => span.ratio(metric::CONNTRACK_USED, metric::CONNTRACK_MAX),
            Self::Files => span.ratio(metric::FD_USED, metric::FD_MAX),
            Self::SynReceived => span.mean(metric::TCP_SYN_RECEIVED),
            Self::Established => span.mean(metric::TCP_ESTABLISHED),
            Self::Overflows => Some(host(metric::TCP_LISTEN_OVERFLOWS)? / span.seconds()),
            Self::DiskAwait => {
                let requests = span.grown(metric::DISK_READS)? + span.grown(metric::DISK_WRITES)?;
                let time = span.grown(metric::DISK_READ_TIME)? + span.grown(metric::DISK_WRITE_TIME)?;
                (requests >= 10.0).then(|| time / requests)
            }
            Self::DiskBusy => Some((span.grown(metric::DISK_BUSY)? / span.ms).min(1.0)),
            Self::NetBytes => {
                let both = span.grown(metric::NET_RX_BYTES)? + span.grown(metric::NET_TX_BYTES)?;
                Some(both / span.seconds())
            }
            Self::NetErrors => span.share(
                &[metric::NET_RX_ERRORS, metric::NET_TX_ERRORS],
                &[metric::NET_RX_PACKETS, metric::NET_TX_PACKETS],
                label,
            ),
        }
    }
}

/// A stretch of looks of one boot.
struct Span<'a> {
    looks: &'a [Look<'a>],
    label: &'a str,
    ms: f64,
}

impl<'a> Span<'a> {
    fn of(looks: &'a [Look<'a>], label: &'a str) -> Option<Self> {
        let (first, last) = (looks.first()?, looks.last()?);
        let ms = last.at().since(first.at());
        (looks.len() > 1 && ms > 0 && first.same_boot(*last)).then_some(Self { looks, label, ms: ms as f64 })
    }

    fn seconds(&self) -> f64 {
        self.ms / 1_000.0
    }

    /// How much a counter grew; `None` when it was reset or not observed.
    fn grown_of(&self, id: MetricId, label: &str) -> Option<f64> {
        let (first, last) = (self.looks.first()?, self.looks.last()?);
        let grown = last.value(id, label)?.checked_sub(first.value(id, label)?)?;
        (grown >= 0).then_some(grown as f64)
    }

    fn grown(&self, id: MetricId) -> Option<f64> {
        self.grown_of(id, self.label)
    }

    /// Mean of a gauge of the host.
    fn mean(&self, id: MetricId) -> Option<f64> {
        let values = self.looks[1..].iter().filter_map(|look| look.value(id, ""));
        let (sum, n) = values.fold((0.0, 0u32), |(sum, n), value| (sum + value as f64, n + 1));
        (n > 0).then(|| sum / f64::from(n))
    }

    fn ratio(&self, part: MetricId, whole: MetricId) -> Option<f64> {
        let whole = self.mean(whole).filter(|whole| *whole > 0.0)?;
        Some(self.mean(part)? / whole)
    }

    /// All CPU time.
    fn cpu(&self) -> Option<f64> {
        let idle = self.grown_of(metric::CPU_IDLE, "")?;
        let others = [
            metric::CPU_USER,
            metric::CPU_NICE,
            metric::CPU_SYSTEM,
            metric::CPU_IOWAIT,
            metric::CPU_IRQ,
            metric::CPU_SOFTIRQ,
            metric::CPU_STEAL,
        ];
        let all = idle + others.into_iter().filter_map(|id| self.grown_of(id, "")).sum::<f64>();
        (all > 0.0).then_some(all)
    }

    /// A pressure counter in µs as a share of the time.
    fn stalled(&self, id: MetricId) -> Option<f64> {
        Some((self.grown_of(id, "")? / (self.ms * 1_000.0)).min(1.0))
    }

    /// The share of some events among others; 0 where too few happened.
    fn share(&self, some: &[MetricId], all: &[MetricId], label: &str) -> Option<f64> {
        let sum =
            |ids: &[MetricId]| ids.iter().try_fold(0.0, |sum, id| Some(sum + self.grown_of(*id, label)?));
        let (some, all): (f64, f64) = (sum(some)?, sum(all)?);
        Some(if all < LEAST_EVENTS { 0.0 } else { (some / all).min(1.0) })
    }
}

/// Disks and interfaces that are worth a baseline: those that stand for hardware, at most three of each.
#[must_use]
pub fn labels<'a>(look: Look<'a>, per: Per) -> Vec<&'a str> {
    const MOST: usize = 3;
    let virtual_ones = |name: &str| {
        ["lo", "loop", "ram", "zram", "veth", "docker", "br-", "virbr", "tun", "tap", "cali", "flannel", "sr"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    let id = match per {
        Per::Host => return vec![""],
        Per::Disk => metric::DISK_BUSY,
        Per::Interface => metric::NET_RX_BYTES,
    };
    let mut names: Vec<&str> = look.labels(id).filter(|name| !virtual_ones(name)).collect();
    names.sort_unstable();
    // A disk's partitions say the same again.
    let all = names.clone();
    if per == Per::Disk {
        names.retain(|name| !all.iter().any(|disk| is_partition(name, disk)));
    }
    names.truncate(MOST);
    names
}

fn is_partition(name: &str, disk: &str) -> bool {
    let Some(rest) = name.strip_prefix(disk) else { return false };
    let numbered = disk.ends_with(|last: char| last.is_ascii_digit());
    let rest = if numbered { rest.strip_prefix('p').unwrap_or_default() } else { rest };
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
}
