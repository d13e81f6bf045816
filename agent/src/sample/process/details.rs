//! What is read only of processes that are named: owner, unit, arguments.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::AtFlags;

use super::read_below;
use super::table::Entry;
use crate::config::Redaction;
use crate::sample::cgroup;
use crate::sample::read::read_once;
use crate::sample::sensor::clean;

/// Most bytes read of a command line; 160 are shown.
const ARGUMENTS: usize = 4096;
/// A process may still change its user and program at this age; then it is read again.
const SETTLED: Duration = Duration::from_secs(10);

/// How far the texts can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// They are to be read.
    #[default]
    Stale,
    /// The process was young: they are read once more when it is not.
    Early,
    /// They are not read again while its name stays.
    Settled,
}

/// Texts of a process, kept as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Details {
    pub(super) user: String,
    pub(super) unit: String,
    pub(super) args: String,
    state: State,
}

impl Details {
    /// The process has another name now, so it runs another program.
    pub(super) const fn expire(&mut self) {
        self.state = State::Stale;
    }
}

/// Looks them up.
#[derive(Debug)]
pub(super) struct Resolver {
    passwd: PathBuf,
    changed: Option<SystemTime>,
    users: HashMap<u32, String>,
    redaction: Redaction,
}

impl Resolver {
    pub(super) fn new(etc: &Path, redaction: Redaction) -> Self {
        Self { passwd: etc.join("passwd"), changed: None, users: HashMap::new(), redaction }
    }

    /// Reads the names of users again when their file changed; looked at when slow facts are due.
    pub(super) fn refresh(&mut self, slow: bool) {
        if !slow {
            return;
        }
        let changed = std::fs::metadata(&self.passwd).and_then(|data| data.modified()).ok();
        if changed.is_some()
            && changed != self.changed
            && let Ok(text) = read_once(&self.passwd)
        {
            self.users = parse_users(&text);
        }
        self.changed = changed;
    }

    /// Fills in the process's texts. What it does not let us see is empty.
    pub(super) fn resolve(&self, folder: &OwnedFd, entry: &mut Entry, age: Duration) {
        let details = entry.details.get_or_insert_default();
        let settles = age >= SETTLED;
        if details.state == State::Stale || (details.state == State::Early && settles) {
            // Reading the arguments of a process that waits for a dead disk can wait with it.
            let stuck = entry.state == b'D';
            **details = self.look_up(folder, entry.pid, !stuck);
            details.state = match (stuck, settles) {
                (true, _) => State::Stale,
                (false, false) => State::Early,
                (false, true) => State::Settled,
            };
        }
    }

    fn look_up(&self, folder: &OwnedFd, pid: u32, arguments: bool) -> Details {
        let mut buffer = [0; ARGUMENTS];
        let unit = read_below(folder, &format!("{pid}/cgroup"), &mut buffer)
            .map(|length| cgroup::unit_of(&buffer[..length]))
            .unwrap_or_default();
        let args = arguments
            .then(|| read_below(folder, &format!("{pid}/cmdline"), &mut buffer))
            .flatten()
            .map(|length| self.redaction.command_line(&buffer[..length], length == ARGUMENTS))
            .unwrap_or_default();
        // The folder belongs to the effective user; the files in it belong to root when the program
        // forbids to be inspected.
        let user = rustix::fs::statat(folder, pid.to_string(), AtFlags::empty())
            .map(|stat| self.user(stat.st_uid))
            .unwrap_or_default();
        Details { user, unit, args, state: State::Stale }
    }

    fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }
}

/// Names by number of `/etc/passwd`; the first of a number counts, lines of another form are skipped.
fn parse_users(text: &str) -> HashMap<u32, String> {
    let mut users = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if let Ok(uid) = uid.parse() {
            users.entry(uid).or_insert_with(|| clean(name.as_bytes()));
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_name_of_a_number_counts() {
        let users = parse_users("root:x:0:0::/:/bin/sh\n# note\ntoor:x:0:0\nbad:x:y\nwww:x:33:33\n+::::::\n");
        assert_eq!(users.len(), 2);
        assert_eq!(users[&0], "root");
        assert_eq!(users[&33], "www");
    }
}
