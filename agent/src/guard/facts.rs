//! What is true on the host now, as far as a decision needs it. Gathered before, never during one.

/// What was seen of an action's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// A service.
    Service(ServiceFacts),
    /// A process.
    Process(ProcessFacts),
    /// A directory for temporary files.
    Temp(TempFacts),
    /// It could not be looked at, or is not there; one line on why.
    Unseen(String),
}

/// A service as systemd describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceFacts {
    /// The unit's id, whatever name was asked for.
    pub id: String,
    /// All its names, the id among them.
    pub names: Vec<String>,
    /// `loaded`, `not-found`, `masked`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, …
    pub active: String,
    /// The state within that, such as `running`.
    pub sub: String,
    /// `simple`, `oneshot`, …
    pub kind: String,
    /// Result of the last run, `success` when it was well.
    pub result: String,
    /// Main process, 0 when there is none.
    pub main_pid: u32,
    /// How often systemd restarted it by itself.
    pub restarts: u64,
    /// Changes with each start.
    pub invocation: String,
    /// Whether a person may start it.
    pub can_start: bool,
    /// Whether a person may stop it.
    pub can_stop: bool,
    /// What its end or its failure does to the whole host: `SuccessAction=reboot`.
    pub host_actions: Vec<String>,
    /// Units running now that would stop with it, with all their names.
    pub dragged: Vec<String>,
    /// Units running now that starting it would stop, with all their names.
    pub displaced: Vec<String>,
    /// There are more of them than are looked at.
    pub too_wide: bool,
}

impl ServiceFacts {
    /// Whether it is down: neither running nor on the way there by a person's start.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "inactive" | "failed") || self.sub == "auto-restart"
    }

    /// State in the words of systemd: `active (running)`.
    #[must_use]
    pub fn state(&self) -> String {
        format!("{} ({})", self.active, self.sub)
    }
}

/// A process as `/proc` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessFacts {
    /// Its start, in clock ticks since boot.
    pub start_ticks: u64,
    /// Its short name.
    pub comm: String,
    /// Real, effective, saved and file-system user.
    pub uids: [u32; 4],
    /// Name of the effective user, when it has one.
    pub user: Option<String>,
    /// The units that it runs in, the outermost first: one within another where a unit has groups of its
    /// own, as a user's manager does.
    pub units: Vec<String>,
    /// Whether it is a thread of the kernel.
    pub kernel: bool,
    /// Whether it is the executor itself or an ancestor of it.
    pub ours: bool,
    /// Whether the kernel can hold on to one process whatever happens to its number.
    pub pidfd: bool,
}

/// A directory for temporary files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TempFacts {
    /// Whether it belongs to root.
    pub root_owned: bool,
}
