//! Risk of an action under its circumstances: computed, every factor named, never below the floor
//! of the catalogue. Pure.

use sysop_common::action::{Action, Risk};
use sysop_common::grant::matches_pattern;

/// Services whose stop cuts off the host or the operator.
const LIFELINES: &[&str] = &[
    "ssh.service",
    "sshd.service",
    "ssh@*.service",
    "sshd@*.service",
    "systemd-*.service",
    "dbus*.service",
    "NetworkManager*.service",
    "networking.service",
    "wpa_supplicant*.service",
    "firewalld.service",
    "nftables.service",
    "iptables.service",
    "ufw.service",
    "polkit.service",
    "getty@*.service",
    "serial-getty@*.service",
    "sysop-*.service",
];

/// Services that hold data, which an interruption can cost.
const DATA: &[&str] = &[
    "mysql*.service",
    "mysqld*.service",
    "mariadb*.service",
    "postgresql*.service",
    "mongod*.service",
    "redis*.service",
    "elasticsearch*.service",
    "opensearch*.service",
    "etcd*.service",
    "cassandra*.service",
    "clickhouse*.service",
    "rabbitmq*.service",
    "kafka*.service",
];

/// More than this share of the host's memory or CPU in percent counts as a large target.
const LARGE_TARGET: u8 = 25;
/// Files at least this old are taken for abandoned.
const ABANDONED_AFTER_S: u32 = 24 * 3_600;

/// The circumstances. What is not known is `None` and raises nothing, except where the comment says so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// An admin called the host critical.
    pub host_critical: bool,
    /// Units that the host's owner protects, as patterns.
    pub protected: &'a [String],
    /// Whether the target runs now; not known counts as running.
    pub running: Option<bool>,
    /// The target's share of the host's memory or CPU, whichever is larger, in percent.
    pub share: Option<u8>,
    /// The service that a process belongs to.
    pub process_unit: Option<&'a str>,
    /// A process's owner.
    pub process_user: Option<&'a str>,
    /// On how many other hosts the same action ran in the last ten minutes.
    pub elsewhere: u32,
    /// How many hosts there are.
    pub fleet: u32,
    /// Whether it is within the hours that an admin called busy.
    pub busy_hours: bool,
    /// Risk that came with the offer.
    pub offered: Option<Risk>,
}

/// One step of the computation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// Which.
    pub factor: &'static str,
    /// The risk after it.
    pub risk: Risk,
    /// Why, for people.
    pub why: String,
}

/// The risk and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessed {
    /// The risk.
    pub risk: Risk,
    /// The floor, then each factor that raised it or was looked at and found serious.
    pub factors: Vec<Factor>,
}

impl Assessed {
    fn raise(&mut self, factor: &'static str, why: String) {
        self.at_least(factor, self.risk.raised(), why);
    }

    fn at_least(&mut self, factor: &'static str, risk: Risk, why: String) {
        self.risk = self.risk.max(risk);
        self.factors.push(Factor { factor, risk: self.risk, why });
    }
}

/// Computes the risk of `action`.
#[must_use]
pub fn assess(action: &Action, circumstances: &Circumstances<'_>) -> Assessed {
    let entry = action.entry();
    let floor = Factor {
        factor: "floor",
        risk: entry.floor,
        why: format!("{} is {} by the catalogue", action.name(), entry.floor.word()),
    };
    let mut assessed = Assessed { risk: entry.floor, factors: vec![floor] };
    irreversible(action, circumstances, &mut assessed);
    target(action, circumstances, &mut assessed);
    if circumstances.host_critical {
        assessed.raise("host", "the host is marked critical".into());
    }
    if circumstances.fleet >= 5 && circumstances.elsewhere * 20 >= circumstances.fleet {
        let hosts = circumstances.elsewhere;
        assessed.raise("blast_radius", format!("the same action ran on {hosts} other hosts within 10 min"));
    }
    if circumstances.busy_hours && interrupts(action, circumstances) {
        assessed.raise("time", "it interrupts a service within the busy hours".into());
    }
    if let Some(offered) = circumstances.offered.filter(|offered| *offered > assessed.risk) {
        assessed.at_least("analyser", offered, format!("the analyser calls it {}", offered.word()));
    }
    assessed
}

/// The floor covers what the action always costs; this is what it costs beyond that.
fn irreversible(action: &Action, circumstances: &Circumstances<'_>, assessed: &mut Assessed) {
    match action {
        Action::CleanupTempFiles { min_age_s, .. } if *min_age_s < ABANDONED_AFTER_S => {
            assessed.raise("irreversible", "files younger than a day may still be in use".into());
        }
        Action::KillProcess { .. } => {
            if let Some(unit) = circumstances.process_unit.filter(|unit| !unit.is_empty()) {
                let why = format!("the process belongs to {unit}: restart or stop that instead");
                assessed.raise("irreversible", why);
            }
        }
        _ => {}
    }
}

fn target(action: &Action, circumstances: &Circumstances<'_>, assessed: &mut Assessed) {
    if let Some(unit) = action.unit().map(|unit| unit.as_str()) {
        let listed = |patterns: &[&str]| patterns.iter().any(|pattern| matches_pattern(pattern, unit));
        if circumstances.protected.iter().any(|pattern| matches_pattern(pattern, unit)) {
            assessed.at_least("target", Risk::High, format!("{unit} is protected by the host's owner"));
        } else if stops(action) && listed(LIFELINES) {
            let why = format!("{unit} keeps the host reachable and running");
            assessed.at_least("target", Risk::High, why);
        } else if interrupts(action, circumstances) && listed(DATA) {
            assessed.raise("target", format!("{unit} holds data"));
        }
    }
    if let Some(user) = circumstances.process_user.filter(|user| *user == "root" || *user == "0") {
        assessed.raise("target", format!("the process belongs to {user}"));
    }
    if let Some(share) = circumstances.share.filter(|share| *share > LARGE_TARGET)
        && interrupts(action, circumstances)
    {
        assessed.raise("target", format!("it holds {share} % of the host's memory or CPU"));
    }
}

/// Whether the action ever stops what it acts on.
const fn stops(action: &Action) -> bool {
    matches!(action, Action::RestartService { .. } | Action::StopService { .. } | Action::KillProcess { .. })
}

/// Whether something that runs now would be interrupted.
fn interrupts(action: &Action, circumstances: &Circumstances<'_>) -> bool {
    stops(action) && circumstances.running != Some(false)
}
