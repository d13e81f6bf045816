//! The owner's policy: what may be read, what may be done, to what, how often, and what without a person.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use sysop_common::action::{Action, Refusal, UnitName};
use sysop_common::bytes::Digest;
use sysop_common::grant::{Allowed, Grants, matches_pattern};
use sysop_common::ids::sha256;
use sysop_common::order::Origin;
use sysop_common::probe::{Pattern, is_reserved};

use super::check::Refused;
use super::facts::Facts;
use super::owned::{self, Reach};
use super::parse::{self, PolicyError};
use super::protected;

/// Where the owner's policy lies.
pub const POLICY_PATH: &str = "/etc/sysop/policy.toml";
/// Most bytes of a policy.
const MAX_POLICY: usize = 64 * 1024;
/// Actions per hour when the policy does not say.
pub(super) const DEFAULT_ACTIONS_PER_HOUR: u32 = 12;
/// Most actions per hour that a policy may allow: the journal keeps each of them for an hour.
pub(super) const MAX_ACTIONS_PER_HOUR: u32 = 60;
/// Bytes that one cleanup may remove when the policy does not say: 1 GiB.
pub(super) const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// A policy as read from its file.
#[derive(Debug, Clone)]
pub struct Policy {
    path: PathBuf,
    pub(super) queries: Vec<&'static str>,
    pub(super) rules: Vec<Rule>,
    pub(super) protected: Vec<String>,
    pub(super) actions_per_hour: u32,
    pub(super) probes: Vec<Pattern>,
    digest: Option<Digest>,
}

/// One `[[allow]]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule {
    pub(super) action: &'static str,
    pub(super) units: Vec<String>,
    pub(super) processes: Vec<String>,
    pub(super) users: Vec<String>,
    pub(super) roots: Vec<String>,
    pub(super) max_bytes: u64,
    pub(super) automatic: bool,
}

impl Policy {
    /// Reads the policy for a process that decides nothing by it: the collector, which announces it
    /// and answers readings. The file must belong to root or to this user, and nobody else may write it.
    ///
    /// # Errors
    /// Names file, line, key and remedy.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        Self::read(path, Reach::File)
    }

    /// Reads the policy for the executor: each directory above it must be as safe as the file.
    ///
    /// # Errors
    /// Names file, line, key and remedy.
    pub fn load_guarded(path: &Path) -> Result<Self, PolicyError> {
        Self::read(path, Reach::Path)
    }

    fn read(path: &Path, reach: Reach) -> Result<Self, PolicyError> {
        let bytes = owned::read(path, MAX_POLICY, reach)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(path, text),
            Err(e) => Err(PolicyError::Text {
                path: path.to_owned(),
                line: bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1,
                key: "text".into(),
                problem: "is not UTF-8; save the file as UTF-8".into(),
            }),
        }
    }

    /// Reads `text`, which stands in `path`.
    ///
    /// # Errors
    /// Names file, line, key and remedy.
    pub fn parse(path: &Path, text: &str) -> Result<Self, PolicyError> {
        let parsed = parse::parse(path, text)?;
        Ok(Self {
            path: path.to_owned(),
            queries: parsed.queries,
            rules: parsed.rules,
            protected: parsed.protected,
            actions_per_hour: parsed.actions_per_hour,
            probes: parsed.probes.unwrap_or_default(),
            digest: Some(Digest(sha256(text.as_bytes()))),
        })
    }

    /// The policy that allows no action, no reading and no probe: what holds while there is no file.
    #[must_use]
    pub fn none(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            queries: Vec::new(),
            rules: Vec::new(),
            protected: Vec::new(),
            actions_per_hour: DEFAULT_ACTIONS_PER_HOUR,
            probes: Vec::new(),
            digest: None,
        }
    }

    /// Whether the collector may answer this reading.
    #[must_use]
    pub fn allows_query(&self, name: &str) -> bool {
        self.queries.contains(&name)
    }

    /// Whether the collector may look up `name` to probe it at `port`; `None` is a probe without a port.
    #[must_use]
    pub fn allows_probe_name(&self, name: &str, port: Option<u16>) -> bool {
        self.probes.iter().any(|pattern| pattern.allows_name(name, port))
    }

    /// Whether the collector may probe this address, which `name` was looked up to where it has one. A name
    /// that is allowed leads to public addresses only, since who holds the name chooses the address: loopback,
    /// private and reserved ones need a pattern of their own.
    #[must_use]
    pub fn allows_probe(&self, name: Option<&str>, address: IpAddr, port: Option<u16>) -> bool {
        let named = name.is_some_and(|name| self.allows_probe_name(name, port)) && is_public(address);
        named || self.probes.iter().any(|pattern| pattern.allows_address(address, port))
    }

    /// Most actions that may start within an hour.
    #[must_use]
    pub const fn actions_per_hour(&self) -> u32 {
        self.actions_per_hour
    }

    /// What is announced to controllers; `executor` tells whether one is installed.
    #[must_use]
    pub fn grants(&self, executor: bool) -> Grants {
        Grants {
            queries: self.queries.iter().map(|name| (*name).to_owned()).collect(),
            allow: self.rules.iter().map(Rule::announced).collect(),
            protected: self.protected.clone(),
            max_actions_per_hour: self.actions_per_hour,
            executor,
            digest: self.digest,
            probes: self.probes.iter().map(Pattern::to_string).collect(),
        }
    }

    /// Whether the owner allows `action` on what `facts` say its target is. The compiled-in list of
    /// protected targets comes before any rule.
    ///
    /// # Errors
    /// Why not; when a rule is missing, with the lines that would allow it.
    pub fn allows(&self, action: &Action, facts: &Facts, origin: Origin) -> Result<(), Refused> {
        self.protects(action, facts)?;
        let rules: Vec<_> = self.rules.iter().filter(|rule| rule.action == action.name()).collect();
        if rules.is_empty() {
            let why = format!("the host's policy does not allow {}", action.name());
            return Err(self.missing(Refusal::NotAllowed, &why, action, facts, origin));
        }
        let fitting: Vec<_> = rules.into_iter().filter(|rule| rule.fits(action, facts)).collect();
        if fitting.is_empty() {
            let why = format!("the host's policy allows {}, but not on this target", action.name());
            return Err(self.missing(Refusal::ParameterNotAllowed, &why, action, facts, origin));
        }
        if origin == Origin::Automatic && !fitting.iter().any(|rule| rule.automatic) {
            let why =
                format!("the host's policy allows {} on this target only by a person's word", action.name());
            return Err(self.missing(Refusal::NotAllowed, &why, action, facts, origin));
        }
        Ok(())
    }

    fn protects(&self, action: &Action, facts: &Facts) -> Result<(), Refused> {
        let refuse = |detail: String| Err(Refused::new(Refusal::Protected, detail));
        let mut targets: Vec<&str> = action.unit().map(UnitName::as_str).into_iter().collect();
        match facts {
            Facts::Service(unit) => targets.extend(unit.names.iter().chain([&unit.id]).map(String::as_str)),
            Facts::Process(process) if process.ours || process.kernel => {
                return refuse("the process belongs to this program, to init or to the kernel".into());
            }
            Facts::Process(process) => targets.extend(process.units.iter().map(String::as_str)),
            Facts::Temp(_) | Facts::Unseen(_) => {}
        }
        if let Action::KillProcess { process } = action
            && let Some(pattern) = protected::process(&process.comm)
        {
            return refuse(format!("processes called {pattern} are protected on every host"));
        }
        if let Some(why) = targets.iter().find_map(|name| self.protection(name)) {
            return refuse(why);
        }
        let Facts::Service(unit) = facts else { return Ok(()) };
        if let Some(what) = unit.host_actions.first() {
            return refuse(format!("{} can take the whole host down when it ends: {what}", unit.id));
        }
        if unit.too_wide {
            return refuse(format!("{} hangs together with more units than are looked at", unit.id));
        }
        let stops = !matches!(action, Action::StartService { .. });
        let starts = !matches!(action, Action::StopService { .. });
        let dragged = unit.dragged.iter().filter(|_| stops);
        let displaced = unit.displaced.iter().filter(|_| starts);
        match dragged.chain(displaced).find_map(|name| self.protection(name)) {
            Some(why) => refuse(format!("it would stop another unit: {why}")),
            None => Ok(()),
        }
    }

    /// Why a unit called `name` may not be touched, if it may not.
    fn protection(&self, name: &str) -> Option<String> {
        if protected::unit(name).is_some() {
            return Some(format!("{name} is protected on every host; no policy can allow it"));
        }
        let pattern = self.protected.iter().find(|pattern| matches_pattern(pattern, name))?;
        Some(format!("{name} is protected by \"{pattern}\" in [limits] of {}", self.path.display()))
    }

    /// A refusal with the lines that the owner would add.
    fn missing(&self, reason: Refusal, why: &str, action: &Action, facts: &Facts, origin: Origin) -> Refused {
        let lines = lines_to_add(action, facts, origin);
        let path = self.path.display();
        Refused::new(reason, format!("{why}; to allow it, its owner adds to {path}:\n{lines}"))
    }
}

/// Neither reserved nor of a private network or this machine.
fn is_public(address: IpAddr) -> bool {
    let inner = match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified()
        }
    };
    !inner && !is_reserved(address)
}

impl Rule {
    fn announced(&self) -> Allowed {
        Allowed {
            action: self.action.to_owned(),
            units: self.units.clone(),
            roots: self.roots.clone(),
            processes: self.processes.clone(),
            users: self.users.clone(),
            automatic: self.automatic,
        }
    }

    fn fits(&self, action: &Action, facts: &Facts) -> bool {
        let any = |patterns: &[String], text: &str| patterns.iter().any(|p| matches_pattern(p, text));
        match action {
            Action::RestartService { unit }
            | Action::StartService { unit }
            | Action::StopService { unit } => {
                // An alias counts: owners write mysql.service where the id is mariadb.service.
                let names: &[String] = if let Facts::Service(seen) = facts { &seen.names } else { &[] };
                names.iter().any(|name| any(&self.units, name)) || any(&self.units, unit.as_str())
            }
            Action::KillProcess { process } => {
                any(&self.processes, &process.comm)
                    && match facts {
                        Facts::Process(seen) => self.fits_user(seen.uids, seen.user.as_deref()),
                        // Not there: the pre-check says so, the user's name is nobody's.
                        _ => true,
                    }
            }
            Action::CleanupTempFiles { root, max_bytes, .. } => {
                self.roots.iter().any(|allowed| allowed == root.as_str()) && *max_bytes <= self.max_bytes
            }
        }
    }

    fn fits_user(&self, uids: [u32; 4], user: Option<&str>) -> bool {
        if self.users.is_empty() {
            return !uids.contains(&0);
        }
        // One of several identities is enough to be somebody else's process.
        let same = uids.iter().all(|uid| *uid == uids[0]);
        same && self.users.iter().any(|name| Some(name.as_str()) == user || *name == uids[0].to_string())
    }
}

/// The exact lines that would allow `action`.
fn lines_to_add(action: &Action, facts: &Facts, origin: Origin) -> String {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let mut lines = format!("[[allow]]\naction = {}\n", text(action.name()));
    match action {
        Action::RestartService { unit } | Action::StartService { unit } | Action::StopService { unit } => {
            lines += &format!("units = [{}]\n", text(unit.as_str()));
        }
        Action::KillProcess { process } => {
            lines += &format!("processes = [{}]\n", text(&process.comm));
            if let Facts::Process(seen) = facts {
                let user = seen.user.clone().unwrap_or_else(|| seen.uids[1].to_string());
                let why = if seen.user.is_some() { "" } else { " # its name is not in /etc/passwd" };
                lines += &format!("users = [{}]{why}\n", text(&user));
            }
        }
        Action::CleanupTempFiles { root, max_bytes, .. } => {
            lines += &format!("roots = [{}]\nmax_bytes = {max_bytes}\n", text(root.as_str()));
        }
    }
    if origin == Origin::Automatic {
        lines += "automatic = true\n";
    }
    lines
}
