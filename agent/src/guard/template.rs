//! The first policy, written at enrolment: it monitors, and allows what the owner named.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use sysop_common::action::{CATALOGUE, entry_by_name};
use sysop_common::query::QUERY_NAMES;

use super::parse::{self, PolicyError};
use super::rules::{DEFAULT_ACTIONS_PER_HOUR, DEFAULT_MAX_BYTES, MAX_ACTIONS_PER_HOUR};

/// What an owner allows at enrolment: `restart_service=nginx.service,php*-fpm.service`. A group of
/// actions is `services` (restart and start); without `=` it is allowed on every target that is not
/// protected. Nothing named here is automatic: that is written into the file by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowClass {
    actions: Vec<&'static str>,
    targets: Vec<String>,
}

/// A class that there is not, or that its targets do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// There is no such action.
    #[error("{0:?} cannot be allowed; write services, or one of {names}, with =TARGET,… to narrow it", names = names())]
    Unknown(String),
    /// No policy can say that.
    #[error("{0:?} cannot be allowed: {1}")]
    Target(String, String),
}

fn names() -> String {
    CATALOGUE.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ")
}

impl FromStr for AllowClass {
    type Err = ClassError;

    fn from_str(text: &str) -> Result<Self, ClassError> {
        let said: String = text.chars().take(80).collect();
        let error = || ClassError::Unknown(said.clone());
        let (name, targets) = text.split_once('=').map_or((text, None), |(name, list)| (name, Some(list)));
        let actions = match name {
            "services" => vec!["restart_service", "start_service"],
            other => vec![entry_by_name(other).ok_or_else(error)?.name],
        };
        let targets: Vec<String> =
            targets.map(|list| list.split(',').map(|t| t.trim().to_owned()).collect()).unwrap_or_default();
        if targets.iter().any(|target| target.is_empty() || target.contains(['"', '\\', '\n'])) {
            return Err(error());
        }
        let class = Self { actions, targets };
        // Found out now, not when the host is enrolled and the token spent.
        match parse::parse(Path::new("--allow"), &template(std::slice::from_ref(&class))) {
            Ok(_) => Ok(class),
            Err(PolicyError::Text { key, problem, .. }) => {
                Err(ClassError::Target(said, format!("{key}: {problem}")))
            }
            Err(e) => Err(ClassError::Target(said, e.to_string())),
        }
    }
}

/// The text of a first policy.
#[must_use]
pub fn template(allow: &[AllowClass]) -> String {
    let mut text = String::from(
        "# What this host lets Smart System Operator do. Only root can write this file, no controller can\n\
         # change it, and what it does not allow is refused. It is read again for each order.\n\
         # Check it with: sysop-agent policy check\n\n\
         # Readings that the agent answers.\n[queries]\nallow = [\n",
    );
    for name in QUERY_NAMES {
        let _ = writeln!(text, "    \"{name}\",");
    }
    let _ = write!(
        text,
        "]\n\n[limits]\n# Most actions that may start within an hour, 1 to {MAX_ACTIONS_PER_HOUR}.\n\
         actions_per_hour = {DEFAULT_ACTIONS_PER_HOUR}\n\
         # Units that no action may touch, nor stop along the way. ssh, network, dbus, systemd's own and\n\
         # this agent are protected on every host.\nprotected = []\n\n\
         # What is probed when a controller asks for it: ranges, addresses and names, with ports or without,\n\
         # such as \"10.0.0.0/8:5432\" or \"*.example.org:443\". Nothing is, as it stands.\n\
         [probes]\nallow = []\n\n"
    );
    if allow.is_empty() {
        text += "# No action is allowed: this host is monitored only. To allow one, take the # away:\n\
                 #\n\
                 # [[allow]]\n\
                 # action = \"restart_service\"        # also start_service, stop_service\n\
                 # units = [\"nginx.service\", \"php*-fpm.service\"]\n\
                 # automatic = false                 # true: also without a person's word\n\
                 #\n\
                 # [[allow]]\n\
                 # action = \"kill_process\"\n\
                 # processes = [\"java\"]              # short names, as in /proc/PID/comm\n\
                 # users = [\"app\"]                   # without this: any user but root; of a directory\n\
                 #                                   # service (LDAP, SSSD) write the number: \"10042\"\n\
                 #\n\
                 # [[allow]]\n\
                 # action = \"cleanup_temp_files\"\n\
                 # roots = [\"/tmp\", \"/var/tmp\"]\n\
                 # max_bytes = 1073741824            # most bytes that one run may remove\n";
    } else {
        text += "# What may be done. automatic = true lets it happen without a person's word.\n";
    }
    for class in allow {
        class.actions.iter().for_each(|action| entry(&mut text, action, &class.targets));
    }
    text
}

fn entry(text: &mut String, action: &str, targets: &[String]) {
    let (key, every) = match action {
        "kill_process" => ("processes", vec!["*".to_owned()]),
        "cleanup_temp_files" => ("roots", vec!["/tmp".to_owned(), "/var/tmp".to_owned()]),
        _ => ("units", vec!["*.service".to_owned()]),
    };
    let targets = if targets.is_empty() { &every } else { targets };
    let list = targets.iter().map(|target| format!("\"{target}\"")).collect::<Vec<_>>().join(", ");
    let _ = write!(text, "\n[[allow]]\naction = \"{action}\"\n{key} = [{list}]\nautomatic = false\n");
    if action == "cleanup_temp_files" {
        let _ = writeln!(text, "max_bytes = {DEFAULT_MAX_BYTES}");
    }
}
