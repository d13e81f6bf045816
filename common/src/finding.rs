//! What the analyser found: facts with their evidence, and the actions that it offers for them.

use serde::{Deserialize, Serialize};

use crate::action::{Action, Risk};
use crate::time::UnixMs;

/// How bad it is. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Will become trouble, or is trouble for a part.
    Warning,
    /// Is trouble now.
    Critical,
}

impl Severity {
    /// All, least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The word for it, as in the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.word() == word)
    }
}

macro_rules! categories {
    ($($(#[doc = $doc:literal])+ $name:ident $word:literal;)*) => {
        /// What kind of trouble. Ordered: causes before their symptoms.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Category {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Category {
            /// All, causes before their symptoms.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it, as in the API.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

categories! {
    /// A file system refuses writes that it took before.
    FsReadOnly "fs_read_only";
    /// A service or process takes memory without giving it back.
    MemoryLeak "memory_leak";
    /// Deleted files that are still open hold a good part of a file system.
    DeletedOpen "deleted_open";
    /// A service writes far more log than it used to.
    LogFlood "log_flood";
    /// More than one run of the same timed job at once.
    TimerOverlap "timer_overlap";
    /// A file system runs out of space.
    DiskFill "disk_fill";
    /// A file system runs out of inodes.
    InodeFill "inode_fill";
    /// Processes or threads come near their limit.
    PidExhaustion "pid_exhaustion";
    /// Open files come near their limit.
    FdExhaustion "fd_exhaustion";
    /// Work waits for memory.
    MemoryPressure "memory_pressure";
    /// The kernel killed a process for memory.
    OomKill "oom_kill";
    /// Work waits for processors.
    CpuPressure "cpu_pressure";
    /// A service is held back by its own processor limit.
    CpuThrottled "cpu_throttled";
    /// The machine below takes processor time away.
    CpuSteal "cpu_steal";
    /// A service is held back by its own limit on reading or writing.
    IoLimited "io_limited";
    /// Work waits for disks.
    IoPressure "io_pressure";
    /// A process waits in the kernel and does not come back.
    StuckProcess "stuck_process";
    /// Ended processes pile up, because their parent does not collect them.
    Zombies "zombies";
    /// Packets are lost or damaged.
    NetLoss "net_loss";
    /// The table of connections runs full, or one source opens very many.
    ConnectionFlood "connection_flood";
    /// Many failed sign-ins.
    BruteForce "brute_force";
    /// Names cannot be resolved.
    DnsFailure "dns_failure";
    /// The host's clock is wrong.
    ClockSkew "clock_skew";
    /// A service restarts again and again.
    UnitFlapping "unit_flapping";
    /// A service failed.
    UnitFailed "unit_failed";
    /// A service says it runs and does nothing.
    UnitHung "unit_hung";
    /// Something that must run does not: a service, process or port that an operator named.
    MustRun "must_run";
    /// A probe of an operator's fails.
    ProbeFailed "probe_failed";
    /// A certificate that an operator's probe looks at has ended, or will soon.
    CertificateExpiry "certificate_expiry";
    /// A rule of an operator's holds.
    RuleBreached "rule_breached";
    /// A host sends nothing any more.
    Silence "silence";
    /// Many hosts fell silent at once.
    FleetSilence "fleet_silence";
    /// Two agents speak with one host's certificate.
    AgentClone "agent_clone";
}

impl Category {
    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|category| category.word() == word)
    }
}

/// A value that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A stored integer, in the unit and scale of its metric.
    Number(i64),
    /// A word, such as a unit's state.
    Word(String),
}

/// One row of evidence: what was read, where, when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// `E1`, `E2`, … within the finding.
    pub id: String,
    /// Name of the metric, or `unit.active`, `unit.restarts`, `host.last_seen`, …
    pub metric: String,
    /// Of what: mount point, unit; empty for the host.
    pub label: String,
    /// Time of `before`, or of the only value.
    pub from: UnixMs,
    /// Time of `value`.
    pub to: UnixMs,
    /// The value before, where a change is the evidence.
    pub before: Option<Value>,
    /// The value.
    pub value: Value,
    /// One line for people.
    pub text: String,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Culprit {
    /// A service.
    Unit {
        /// Its name.
        unit: String,
        /// Its share in percent.
        share: u8,
    },
    /// A process that belongs to no service.
    Process {
        /// Process id.
        pid: u32,
        /// Start time in clock ticks since boot.
        start_ticks: u64,
        /// Kernel's short name.
        comm: String,
        /// Owner.
        user: String,
        /// Its share in percent.
        share: u8,
    },
    /// No single one: nothing is offered against anyone.
    Diffuse {
        /// Why nobody is named.
        why: String,
    },
}

/// What was found. The same samples give the same finding, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind.
    pub category: Category,
    /// Of what: unit, mount point, `host`, `fleet`.
    pub entity: String,
    /// How bad.
    pub severity: Severity,
    /// How sure, in percent.
    pub confidence: u8,
    /// When it began.
    pub onset: UnixMs,
    /// When it was last seen to hold.
    pub last_true: UnixMs,
    /// Whether it holds at the newest look.
    pub active: bool,
    /// One line: what.
    pub title: String,
    /// One line: why, as far as it is known; empty otherwise.
    pub cause: String,
    /// Who, where that question makes sense.
    pub culprit: Option<Culprit>,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// Inputs of the detector that were not there, each as one line.
    pub not_observed: Vec<String>,
    /// Fingerprint of the finding that explains this one.
    pub caused_by: Option<String>,
}

impl Finding {
    /// What makes it the same trouble at the next look.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(self.category, &self.entity)
    }
}

/// Fingerprint of the trouble `category` of `entity`, within one host.
#[must_use]
pub fn fingerprint(category: Category, entity: &str) -> String {
    format!("{}:{entity}", category.word())
}

/// Where an offer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfferSource {
    /// The analyser's rules, without a model.
    Analyser,
    /// A model's choice. Never runs by itself.
    Model,
}

/// An action that is acceptable for a finding, with its parameters bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// `O1`, `O2`, … within the incident, best first.
    pub id: String,
    /// Fingerprint of the finding that it is for.
    pub finding: String,
    /// What.
    #[serde(flatten)]
    pub action: Action,
    /// Risk as far as the analyser knows the circumstances; the decision may raise it.
    pub risk: Risk,
    /// Where it comes from.
    pub source: OfferSource,
    /// Whether the rules hold it fit to run without a person.
    pub unattended: bool,
    /// Why this action.
    pub why: String,
    /// What the host checks right before it runs.
    pub pre_check: String,
    /// What should be seen afterwards.
    pub expect: String,
    /// What it will not fix.
    pub not_fixed: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unique_and_read_back() {
        for category in Category::ALL.iter().copied() {
            assert_eq!(Category::from_word(category.word()), Some(category));
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::from_word(severity.word()), Some(severity));
        }
    }

    #[test]
    fn an_offer_survives_its_stored_form() {
        let offer = Offer {
            id: "O1".into(),
            finding: fingerprint(Category::UnitFailed, "nginx.service"),
            action: Action::RestartService { unit: "nginx.service".parse().unwrap() },
            risk: Risk::Medium,
            source: OfferSource::Analyser,
            unattended: true,
            why: "w".into(),
            pre_check: "p".into(),
            expect: "e".into(),
            not_fixed: "n".into(),
        };
        let json = serde_json::to_value(&offer).unwrap();
        assert_eq!(json["action"], "restart_service");
        assert_eq!(json["params"]["unit"], "nginx.service");
        assert_eq!(serde_json::from_value::<Offer>(json).unwrap(), offer);
    }
}
