//! What never leaves: secrets, and, where an admin wants it, the names of hosts, people and addresses.
//! Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Stands where a secret stood.
pub const GONE: &str = "(removed)";

/// How keys and tokens of widely used services begin.
const PREFIXES: [&str; 26] = [
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "pk_live_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "hf_",
    "npm_",
    "dop_v1_",
    "SG.",
    "sysop_",
    "eyJ",
];
/// What the name of a secret contains.
const NAMES: [&str; 12] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "auth",
    "credential",
    "private_key",
    "cookie",
    "bearer",
];
/// Words after which the next word is a secret.
const BEFORE: [&str; 2] = ["bearer", "basic"];
/// From this length on a word may be a random one.
const RANDOM: usize = 20;
/// A run of hexadecimal digits of this length is a key or a hash.
const HEX: usize = 32;

/// What is kept back, and what was put in its place.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    /// Secrets of this controller: never in any text, whatever it looks like.
    known: Vec<String>,
    /// Real name to the one that leaves; empty when names may leave.
    aliases: BTreeMap<String, String>,
    pseudonyms: bool,
    withheld: bool,
}

impl Redactor {
    /// Keeps back secrets, among them those in `known`, and names too when `pseudonyms` is set.
    #[must_use]
    pub fn new(known: Vec<String>, pseudonyms: bool) -> Self {
        let known = known.into_iter().filter(|secret| secret.len() >= 4).collect();
        Self { known, aliases: BTreeMap::new(), pseudonyms, withheld: false }
    }

    /// Whether all that hosts wrote is left out, for a server whose filter took offence at it.
    pub fn withhold(&mut self, withheld: bool) {
        self.withheld = withheld;
    }

    /// Learns a name of the kind `host` or `user`, so that it is replaced wherever it stands.
    pub fn learn(&mut self, kind: &str, name: &str) {
        let ordinary = ["", "root", "0", "host", "fleet", "localhost"].contains(&name);
        if self.pseudonyms && !ordinary && name.len() >= 2 && !self.aliases.contains_key(name) {
            let count = self.aliases.values().filter(|alias| alias.starts_with(kind)).count();
            self.aliases.insert(name.to_owned(), format!("{kind}-{}", count + 1));
        }
    }

    /// `text` without secrets and, where they are kept back, names.
    #[must_use]
    pub fn apply(&mut self, text: &str) -> String {
        if self.withheld {
            return "(withheld)".to_owned();
        }
        let mut text = text.to_owned();
        for secret in &self.known {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), GONE);
            }
        }
        text = without_secrets(&text);
        if self.pseudonyms {
            self.addresses(&text);
            text = self.aliased(&text);
        }
        text
    }

    /// A text of the model with the real names back in it, for people of this controller.
    #[must_use]
    pub fn restore(&self, text: &str) -> String {
        words(text)
            .map(|(word, is_word)| {
                let real = self.aliases.iter().find(|(_, alias)| is_word && *alias == word);
                real.map_or(word, |(name, _)| name.as_str())
            })
            .collect()
    }

    /// Learns the addresses in `text`.
    fn addresses(&mut self, text: &str) {
        for part in text.split(|c: char| !(c.is_ascii_alphanumeric() || ".:%@-_+".contains(c))) {
            let part = part.trim_matches(|c: char| ".:-".contains(c));
            if part.parse::<IpAddr>().is_ok() {
                self.learn("addr", part);
            } else if let Some((address, port)) = part.rsplit_once(':')
                && address.parse::<IpAddr>().is_ok()
                && port.parse::<u16>().is_ok()
            {
                self.learn("addr", address);
            } else if part.split_once('@').is_some_and(|(who, at)| !who.is_empty() && at.contains('.'))
                && !part.ends_with(".service")
            {
                self.learn("user", part);
            }
        }
    }

    fn aliased(&self, text: &str) -> String {
        // Long names first: `web-1.example.org` before `web-1`.
        let mut names: Vec<(&String, &String)> = self.aliases.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut out = text.to_owned();
        for (name, alias) in names {
            out = replaced(&out, name, alias);
        }
        out
    }
}

/// Replaces `name` where it stands as a word of its own.
fn replaced(text: &str, name: &str, by: &str) -> String {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let last = before.chars().next_back().or_else(|| out.chars().next_back());
        let starts = !last.is_some_and(inner);
        let ends = !after.chars().next().is_some_and(inner);
        out.push_str(before);
        out.push_str(if starts && ends { by } else { name });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Words and what stands between them, in turn.
fn words(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let word = is_word(first);
        let end = rest.find(|c: char| is_word(c) != word).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        Some((part, word))
    })
}

/// `text` without what is a secret by its place or its look.
fn without_secrets(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return GONE.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut next_is_secret = false;
    for part in text.split_inclusive(|c: char| c.is_whitespace() || "\"'`,;()[]{}<>|".contains(c)) {
        let cut =
            part.char_indices().next_back().filter(|(_, c)| !inside(*c)).map_or(part.len(), |(at, _)| at);
        let (word, rest) = part.split_at(cut);
        if word.is_empty() {
            out.push_str(rest);
            continue;
        }
        let (shown, secret_follows) = judged(word, next_is_secret);
        out.push_str(&shown);
        out.push_str(rest);
        next_is_secret = secret_follows;
    }
    out
}

fn inside(c: char) -> bool {
    !(c.is_whitespace() || "\"'`,;()[]{}<>|".contains(c))
}

/// A word as it may leave, and whether the next one is a secret by its place.
fn judged(word: &str, is_secret: bool) -> (String, bool) {
    let names_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        NAMES.iter().any(|known| name.contains(known))
    };
    let announces = BEFORE.contains(&word.to_ascii_lowercase().as_str());
    if is_secret && !announces {
        return (GONE.to_owned(), false);
    }
    if let Some((scheme, rest)) = word.split_once("://")
        && let Some((user, place)) = rest.rsplit_once('@')
        && !user.is_empty()
    {
        return (format!("{scheme}://{GONE}@{}", judged(place, false).0), false);
    }
    if let Some((name, value)) = word.split_once(['=', ':']).filter(|(name, _)| names_secret(name)) {
        let sign = if word[name.len()..].starts_with('=') { '=' } else { ':' };
        let shown = if value.is_empty() { format!("{name}{sign}") } else { format!("{name}{sign}{GONE}") };
        return (shown, value.is_empty());
    }
    if word.starts_with('-') && names_secret(word) || announces {
        return (word.to_owned(), true);
    }
    if let Some((name, value)) = word.split_once('=') {
        return (format!("{name}={}", judged(value, false).0), false);
    }
    if PREFIXES.iter().any(|prefix| holds_key(word, prefix)) || random(word) {
        return (GONE.to_owned(), false);
    }
    (word.to_owned(), false)
}

/// Whether a key that begins so stands in a word: at its begin, or joined to a name as in the name of a unit.
fn holds_key(word: &str, prefix: &str) -> bool {
    word.match_indices(prefix).any(|(at, _)| {
        let joined = word[..at].chars().next_back().is_none_or(|c| "_./@:+=?&~%\\#".contains(c));
        joined && word.len() - at >= prefix.len() + 8
    })
}

/// Whether a word is more like a key than like a name.
fn random(word: &str) -> bool {
    let hex = word.split(|c: char| !c.is_ascii_hexdigit()).any(|run| run.len() >= HEX);
    hex || word.split(|c: char| !(c.is_ascii_alphanumeric() || "+=_-".contains(c))).any(|part| {
        let count = |kind: fn(&u8) -> bool| part.bytes().filter(kind).count();
        part.len() >= RANDOM
            && count(u8::is_ascii_digit) >= 3
            && count(u8::is_ascii_uppercase) >= 3
            && count(u8::is_ascii_lowercase) >= 3
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        Redactor::new(vec!["hunter2-own".into()], false).apply(text)
    }

    #[test]
    fn no_canary_passes() {
        let canaries = [
            "sk-abcdefgh12345678",
            "ghp_0123456789abcdefABCD",
            "AKIAIOSFODNN7EXAMPLE",
            "hunter2-own",
            "xoxb-123456789012-abcdef",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "hf_abcdefgh1234",
            "0123456789abcdef0123456789abcdef",
            "Zx9kQ2mN7pL4vR8tW1yB",
            "glpat-abcdefgh1234",
        ];
        for canary in canaries {
            for text in [
                canary.to_owned(),
                format!("x {canary} y"),
                format!("k={canary}"),
                format!("\"{canary}\""),
                format!("--token {canary}"),
                format!("a,{canary};b"),
                format!("https://u:{canary}@h/p"),
                format!("x_{canary}_y.service"),
                format!("/srv/{canary}"),
            ] {
                assert!(!cleaned(&text).contains(canary), "{text}: {}", cleaned(&text));
            }
        }
        for (text, secret) in [
            ("--password hunter9 --x 1", "hunter9"),
            ("DB_PASSWORD=hunter9", "hunter9"),
            ("Authorization: Bearer abc.def", "abc.def"),
            ("mysql://root:hunter9@db/x", "hunter9"),
            ("api_key:hunter9", "hunter9"),
            ("-----BEGIN PRIVATE KEY-----\nhunter9", "hunter9"),
        ] {
            assert!(!cleaned(text).contains(secret), "{text}: {}", cleaned(text));
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for text in [
            "nginx.service",
            "/var/lib/docker/overlay2",
            "systemd-networkd-wait-online.service",
            "postgresql@15-main.service",
            "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b",
            "exit-code",
            "getty@tty1.service",
            "dev-disk-by\\x2duuid.device",
            "shop --port 80 --verbose",
        ] {
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn names_leave_under_another_name_and_come_back() {
        let mut redactor = Redactor::new(Vec::new(), true);
        redactor.learn("host", "web-07");
        redactor.learn("user", "ann");
        let sent = redactor.apply("ann on web-07 from 192.0.2.7:22 and annex, web-07.example");
        assert_eq!(sent, "user-1 on host-1 from addr-1:22 and annex, host-1.example");
        assert_eq!(redactor.restore("ask user-1 about host-1, host-11"), "ask ann about web-07, host-11");
        let mut plain = Redactor::new(Vec::new(), false);
        plain.learn("host", "web-07");
        assert_eq!(plain.apply("web-07 192.0.2.7"), "web-07 192.0.2.7");
    }
}
