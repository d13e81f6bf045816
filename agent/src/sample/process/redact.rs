//! Hides secrets in command lines before anything leaves the host.
//!
//! The rules err towards hiding: a path lost from a command line is a smaller harm than a password
//! shown. They look, in this order, at names that announce a secret (`--password x`, `TOKEN=x`,
//! `Authorization: x`), at short options of well-known programs, at the user part of addresses, and at
//! words that look like keys. A short secret without any such sign cannot be recognised.

use serde::Deserialize;
use sysop_common::sample::MAX_TEXT;

use crate::sample::sensor::{clip, is_unsafe};

/// What stands in place of a secret.
const HIDDEN: &str = "[redacted]";

/// Which parts of command lines are sent. Set in the host's own configuration only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redaction {
    /// Sends the program's name alone, without arguments.
    pub hide_arguments: bool,
    /// More words that mark a name as that of a secret, such as `"pincode"`.
    pub keys: Vec<String>,
    /// More beginnings of secrets, such as `"acme_"`.
    pub prefixes: Vec<String>,
}

/// A name that contains one of these is that of a secret, after dashes, dots and underscores are taken out.
const KEYS: [&str; 12] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "auth",
    "cookie",
    "bearer",
    "private",
    "signature",
    "jwt",
    "sessionid",
];
/// A name that ends in one of these, or is one of these.
const KEY_ENDS: [&str; 3] = ["key", "dsn", "connectionstring"];
const WHOLE_KEYS: [&str; 4] = ["sig", "pin", "otp", "pw"];

/// How keys of well-known services begin. In all of them at least twelve more characters follow.
const PREFIXES: [&str; 36] = [
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "glrt-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxs-",
    "xapp-",
    "sk-",
    "sk_live_",
    "rk_live_",
    "pk_live_",
    "eyJ",
    "hvs.",
    "npm_",
    "pypi-",
    "dckr_pat_",
    "SG.",
    "AGE-SECRET-KEY-",
    "shpat_",
    "dop_v1_",
    "tskey-",
    "ATATT",
    "lin_api_",
    "figd_",
    "EAACEdEose0cBA",
    "-----BEGIN",
];
const PREFIX_REST: usize = 12;

/// Short options that carry a secret: program's name (with `*`, its beginning), option, where the secret
/// stands.
const OPTIONS: [(&str, &str, Place); 32] = [
    ("mysql*", "-p", Place::Attached),
    ("mariadb*", "-p", Place::Attached),
    ("7z*", "-p", Place::Attached),
    ("rar", "-hp", Place::Attached),
    ("rar", "-p", Place::Attached),
    ("unrar", "-p", Place::Attached),
    ("xfreerdp", "/p:", Place::Attached),
    ("sshpass", "-p", Place::Either),
    ("redis-cli", "-a", Place::Either),
    ("curl", "-u", Place::Either),
    ("curl", "-U", Place::Either),
    ("curl", "-b", Place::Either),
    ("curl", "--user", Place::Either),
    ("curl", "--proxy-user", Place::Either),
    ("ldap*", "-w", Place::Either),
    ("smbclient", "-U", Place::Either),
    ("rpcclient", "-U", Place::Either),
    ("net", "-U", Place::Either),
    ("mosquitto_*", "-P", Place::Either),
    ("mongo*", "-p", Place::Either),
    ("docker", "-p", Place::Next),
    ("podman", "-p", Place::Next),
    ("zip", "-P", Place::Either),
    ("unzip", "-P", Place::Either),
    ("ipmitool", "-P", Place::Either),
    ("sqlcmd", "-P", Place::Either),
    ("snmp*", "-A", Place::Either),
    ("snmp*", "-X", Place::Either),
    ("snmp*", "-c", Place::Either),
    ("openssl", "-k", Place::Either),
    ("htpasswd", "", Place::Anywhere),
    ("sqlplus", "", Place::Anywhere),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the same word only: the option alone asks at the terminal.
    Attached,
    /// In the next word only: attached it is another option.
    Next,
    /// In the same word or the next one.
    Either,
    /// Any argument may hold it.
    Anywhere,
}

/// What the words so far say about the next one.
#[derive(Debug, Default)]
struct Scan {
    hide_next: bool,
    /// Bit per row of [`OPTIONS`] whose program was seen.
    options: u64,
    words: usize,
}

impl Redaction {
    /// The command line as text without secrets and control characters, at most [`MAX_TEXT`] bytes.
    ///
    /// `cmdline` is as the kernel gives it, arguments ended by zero bytes. `cut` tells that it is not
    /// whole: its last argument could be the beginning of a secret, and is left out.
    pub(crate) fn command_line(&self, cmdline: &[u8], cut: bool) -> String {
        let mut arguments: Vec<&[u8]> =
            cmdline.strip_suffix(b"\0").unwrap_or(cmdline).split(|b| *b == 0).collect();
        if cut && arguments.len() > 1 {
            arguments.pop();
        }
        let mut scan = Scan::default();
        let mut out = String::new();
        for (at, argument) in arguments.into_iter().enumerate() {
            if at > 0 {
                if self.hide_arguments {
                    out.push_str(" […]");
                    break;
                }
                out.push(' ');
            }
            if out.len() > MAX_TEXT {
                break;
            }
            let text: String = String::from_utf8_lossy(argument)
                .chars()
                .map(|c| if is_unsafe(c) { '\u{fffd}' } else { c })
                .collect();
            // Titles that programs write over their arguments come as one long first argument.
            let text = if self.hide_arguments { text.split(' ').next().unwrap_or_default() } else { &text };
            self.argument(text, &mut scan, &mut out);
        }
        clip(&out, MAX_TEXT).trim_end().to_owned()
    }

    fn argument(&self, argument: &str, scan: &mut Scan, out: &mut String) {
        if std::mem::take(&mut scan.hide_next) {
            scan.words += 1;
            // `password = x` in three arguments.
            if matches!(argument, "=" | ":") {
                scan.hide_next = true;
                out.push_str(argument);
            } else {
                out.push_str(HIDDEN);
            }
            return;
        }
        let mut rest = argument;
        while !rest.is_empty() {
            let blank = rest.len() - rest.trim_start_matches(' ').len();
            out.push_str(&rest[..blank]);
            rest = &rest[blank..];
            let (word, tail) = rest.split_at(word_end(rest));
            rest = tail;
            match self.word(word, rest.len() + word.len() == argument.len(), scan, out) {
                Next::Show => {}
                Next::HideWord => scan.hide_next = true,
                Next::HideRest => {
                    // In `-H 'Authorization: x'` the secret is here, in `Authorization: x` the next argument.
                    scan.hide_next = rest.trim().is_empty();
                    if !scan.hide_next {
                        out.push(' ');
                        out.push_str(HIDDEN);
                    }
                    return;
                }
                Next::RestHidden => return,
            }
            rest = hide_next_word(rest, scan, out);
        }
    }

    /// Writes one word without its secret and says what comes next. `first` is the argument's first word.
    fn word(&self, word: &str, first: bool, scan: &mut Scan, out: &mut String) -> Next {
        let program = scan.words == 0;
        scan.words += 1;
        if word.is_empty() {
            return Next::Show;
        }
        if !program && let Some(next) = option(word, scan, out) {
            return next;
        }
        note_program(word, scan);
        match self.announced(word, program) {
            Announced::Value(at) => {
                self.put_plain(&word[..at], out);
                out.push_str(HIDDEN);
                // `--password=two words` is one argument.
                if first { Next::RestHidden } else { Next::Show }
            }
            Announced::NextWord => {
                self.put_plain(word, out);
                Next::HideWord
            }
            Announced::Rest => {
                self.put_plain(word, out);
                Next::HideRest
            }
            Announced::Nothing => {
                self.put_plain(word, out);
                Next::Show
            }
        }
    }

    /// Looks for a name that announces a secret.
    fn announced(&self, word: &str, program: bool) -> Announced {
        for (start, run) in runs(word, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')) {
            if !self.is_key(run) {
                continue;
            }
            let end = start + run.len();
            let after = word[end..].trim_start_matches(['"', '\'', '\\', ']', ')']);
            let separator = after.chars().next();
            if let Some(separator @ ('=' | ':')) = separator {
                let value = after[1..].trim_start_matches(['=', '>']);
                let empty = value.trim_matches(['"', '\'', '\\']).is_empty();
                return match (empty, separator) {
                    (false, _) => Announced::Value(word.len() - value.len()),
                    (true, ':') => Announced::Rest,
                    (true, _) => Announced::NextWord,
                };
            }
            if !program && start == 0 && after.is_empty() {
                return Announced::NextWord;
            }
        }
        Announced::Nothing
    }

    fn is_key(&self, name: &str) -> bool {
        let name: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
        KEYS.iter().any(|key| name.contains(key))
            || KEY_ENDS.iter().any(|key| name.ends_with(key))
            || WHOLE_KEYS.contains(&name.as_str())
            || self.keys.iter().any(|key| !key.is_empty() && name.contains(&key.to_ascii_lowercase()))
    }

    /// Writes what no name announces: addresses lose their user's password, keys go.
    fn put_plain(&self, word: &str, out: &mut String) {
        let (before, secret, after) = userinfo(word);
        self.put_without_keys(before, out);
        if secret {
            out.push_str(HIDDEN);
        }
        self.put_without_keys(after, out);
    }

    fn put_without_keys(&self, text: &str, out: &mut String) {
        let mut done = 0;
        for (start, run) in runs(text, is_key_character) {
            // A path is looked at name by name; the slashes of base64 do not lead such a word.
            let path = run.starts_with(['/', '.', '~']);
            let known = self.begins_like_key(run);
            out.push_str(&text[done..start]);
            done = start + run.len();
            if known {
                out.push_str(HIDDEN);
            } else {
                put_without_random(run, path, out);
            }
        }
        out.push_str(&text[done..]);
    }

    fn begins_like_key(&self, run: &str) -> bool {
        let own = self.prefixes.iter().map(String::as_str).filter(|prefix| !prefix.is_empty());
        PREFIXES.into_iter().chain(own).any(|prefix| {
            run.match_indices(prefix).any(|(at, _)| {
                let free = at == 0 || !run.as_bytes()[at - 1].is_ascii_alphanumeric();
                free && run.len() - at >= prefix.len() + PREFIX_REST
            })
        })
    }
}

/// Hides the parts of a run that are random, between dots and, in a path, slashes.
fn put_without_random(run: &str, path: bool, out: &mut String) {
    for part in run.split_inclusive(|c| c == '.' || (path && c == '/')) {
        let name = part.trim_end_matches(['.', '/']);
        if is_random(name) {
            out.push_str(HIDDEN);
            out.push_str(&part[name.len()..]);
        } else {
            out.push_str(part);
        }
    }
}

/// Hides the next word of `rest` if the one before asked for it, and returns what follows. An equals
/// sign or colon that stands alone does not count as the word.
fn hide_next_word<'a>(mut rest: &'a str, scan: &mut Scan, out: &mut String) -> &'a str {
    while scan.hide_next && !rest.trim_start().is_empty() {
        let blank = rest.len() - rest.trim_start_matches(' ').len();
        let end = blank + word_end(&rest[blank..]);
        if matches!(&rest[blank..end], "=" | ":") {
            out.push_str(&rest[..end]);
        } else {
            out.push_str(&rest[..blank]);
            out.push_str(HIDDEN);
            scan.hide_next = false;
        }
        rest = &rest[end..];
    }
    rest
}

/// Where a word says that a secret stands.
enum Announced {
    Nothing,
    /// From this byte of the word to its end.
    Value(usize),
    NextWord,
    /// All that follows in the argument.
    Rest,
}

/// What happens to the words after one.
enum Next {
    Show,
    HideWord,
    HideRest,
    /// The rest of the argument belongs to what was hidden.
    RestHidden,
}

/// A short option of a program seen before.
fn option(word: &str, scan: &Scan, out: &mut String) -> Option<Next> {
    let rows = OPTIONS.iter().enumerate().filter(|(row, _)| scan.options & (1 << row) != 0);
    for (_, (_, option, place)) in rows {
        if *place == Place::Anywhere {
            out.push_str(HIDDEN);
            return Some(Next::Show);
        }
        let Some(value) = word.strip_prefix(option) else { continue };
        if value.is_empty() {
            if *place != Place::Attached {
                out.push_str(word);
                return Some(Next::HideWord);
            }
        } else if *place != Place::Next && (!option.starts_with("--") || value.starts_with('=')) {
            out.push_str(option);
            out.push_str(HIDDEN);
            return Some(Next::RestHidden);
        }
    }
    None
}

fn note_program(word: &str, scan: &mut Scan) {
    let name = word.rsplit('/').next().unwrap_or_default();
    for (row, (program, ..)) in OPTIONS.iter().enumerate() {
        let matches = match program.strip_suffix('*') {
            Some(family) => name.starts_with(family),
            None => name == *program,
        };
        if matches {
            scan.options |= 1 << row;
        }
    }
}

/// End of the word that `text` begins with; blanks between quotes belong to it, and a quote that is not
/// closed takes everything.
fn word_end(text: &str) -> usize {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, ' ') => return at,
            _ => {}
        }
    }
    text.len()
}

/// Runs of characters that `belongs` accepts, with where they start.
fn runs(text: &str, belongs: fn(char) -> bool) -> impl Iterator<Item = (usize, &str)> {
    text.split(move |c| !belongs(c))
        .filter(|run| !run.is_empty())
        .map(move |run| (run.as_ptr() as usize - text.as_ptr() as usize, run))
}

const fn is_key_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '.' | '~')
}

/// Splits at a user's password or at a token in front of `@`: what to show before it, whether there is
/// one, what to show after it. The last `@` counts, since passwords may hold one.
fn userinfo(word: &str) -> (&str, bool, &str) {
    let none = (word, false, "");
    let Some(at) = word.rfind('@') else { return none };
    let Some(colon) = word[..at].find(':') else { return none };
    let start = if word[colon..].starts_with("://") {
        let user = (colon + 3).min(at);
        word[user..at].find(':').map_or(user, |colon| user + colon + 1)
    } else {
        colon + 1
    };
    if start < at { (&word[..start], true, &word[at..]) } else { none }
}

/// Long and of mixed characters, as random keys are. Identifiers in the usual form are not.
fn is_random(run: &str) -> bool {
    let any = |test: fn(&u8) -> bool| run.as_bytes().iter().any(test);
    let (digit, lower, upper) =
        (any(u8::is_ascii_digit), any(u8::is_ascii_lowercase), any(u8::is_ascii_uppercase));
    let mixed =
        (run.len() >= 32 && digit && (lower || upper)) || (run.len() >= 20 && digit && lower && upper);
    mixed && !is_uuid(run)
}

fn is_uuid(run: &str) -> bool {
    let groups: Vec<&str> = run.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
