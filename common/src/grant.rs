//! What a host's owner allows, as the agent announces it. For display and for planning only: the
//! executor reads the owner's file itself.

use serde::{Deserialize, Serialize};

use crate::bytes::Digest;

/// The owner's policy in short.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grants {
    /// Names of the readings that the collector answers.
    pub queries: Vec<String>,
    /// The actions that are allowed, with their limits.
    pub allow: Vec<Allowed>,
    /// Units that no action may touch, besides the compiled-in ones.
    pub protected: Vec<String>,
    /// Most actions per hour.
    pub max_actions_per_hour: u32,
    /// Whether an executor is installed and enabled.
    pub executor: bool,
    /// Digest of the policy file, so that a change shows.
    pub digest: Option<Digest>,
    /// Patterns of targets that the collector probes.
    #[serde(default)]
    pub probes: Vec<String>,
}

/// One allowed action.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allowed {
    /// The action's name.
    pub action: String,
    /// Patterns of unit names (`*` and `?`), for actions on units.
    #[serde(default)]
    pub units: Vec<String>,
    /// Directories, for `cleanup_temp_files`.
    #[serde(default)]
    pub roots: Vec<String>,
    /// Patterns of process names, for `kill_process`.
    #[serde(default)]
    pub processes: Vec<String>,
    /// Owners of processes, for `kill_process`; empty means any but root.
    #[serde(default)]
    pub users: Vec<String>,
    /// Whether it may run without a person's word.
    #[serde(default)]
    pub automatic: bool,
}

impl Grants {
    /// The grants for `action`.
    pub fn of<'a>(&'a self, action: &'a str) -> impl Iterator<Item = &'a Allowed> {
        self.allow.iter().filter(move |allowed| allowed.action == action)
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of characters and `?` for one.
///
/// Linear in practice: only the last `*` is tried again.
#[must_use]
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches_pattern;

    #[test]
    fn patterns_match_whole_names_only() {
        for (pattern, text, want) in [
            ("nginx.service", "nginx.service", true),
            ("nginx.service", "nginx.service.d", false),
            ("php*-fpm.service", "php8.2-fpm.service", true),
            ("php*-fpm.service", "php-fpm.socket", false),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("", "x", false),
        ] {
            assert_eq!(matches_pattern(pattern, text), want, "{pattern} {text}");
        }
    }
}
