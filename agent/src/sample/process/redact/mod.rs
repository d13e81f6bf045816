//! Hides secrets in command lines before anything leaves the host.
//!
//! The rules err towards hiding: a path lost from a command line is a smaller harm than a password
//! shown. They look, in this order, at names that announce a secret (`--password x`, `TOKEN=x`,
//! `Authorization: x`), at short options of well-known programs, at the user part of addresses, and at
//! words that look like keys. A short secret without any such sign cannot be recognised.

mod rules;
#[cfg(test)]
mod tests;
use sysop_common::sample::MAX_TEXT;

use self::rules::Match;
use crate::config::Redaction;
use crate::sample::sensor::{clip, is_unsafe};

/// What stands in place of a secret.
const HIDDEN: &str = "[redacted]";

/// What the words so far say about the next one.
#[derive(Debug, Default)]
struct Scan {
    hide_next: bool,
    hide_all: bool,
    /// The programs seen, as [`rules::programs`] tells them.
    programs: u64,
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
                // Words end at any blank, so each must look like one.
                .map(|c| match c {
                    c if c.is_whitespace() => ' ',
                    c if is_unsafe(c) => '\u{fffd}',
                    c => c,
                })
                .collect();
            // Titles that programs write over their arguments come as one long first argument.
            let text = if self.hide_arguments { text.split(' ').next().unwrap_or_default() } else { &text };
            self.argument(text, &mut scan, &mut out);
        }
        clip(&out, MAX_TEXT).trim_end().to_owned()
    }

    fn argument(&self, argument: &str, scan: &mut Scan, out: &mut String) {
        if scan.hide_all {
            return out.push_str(HIDDEN);
        }
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
                Next::HideAll => {
                    scan.hide_all = true;
                    if !rest.trim().is_empty() {
                        out.push(' ');
                        out.push_str(HIDDEN);
                    }
                    return;
                }
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
        let found = if program { None } else { rules::option(word, scan.programs) };
        match found {
            Some(Match::Whole) => {
                out.push_str(HIDDEN);
                return Next::Show;
            }
            Some(Match::Next) => {
                out.push_str(word);
                return Next::HideWord;
            }
            Some(Match::Attached(option)) => {
                out.push_str(option);
                out.push_str(HIDDEN);
                return Next::RestHidden;
            }
            None => scan.programs |= rules::programs(word),
        }
        match self.announced(word, program) {
            Announced::Value(at) => {
                self.put_plain(&word[..at], out);
                out.push_str(HIDDEN);
                // `--password=two words` is one argument.
                if first || quote_open(word) { Next::RestHidden } else { Next::Show }
            }
            Announced::NextWord => {
                self.put_plain(word, out);
                Next::HideWord
            }
            Announced::Rest => {
                self.put_plain(word, out);
                Next::HideRest
            }
            Announced::All => {
                self.put_plain(word, out);
                Next::HideAll
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
            let end = start + run.len();
            let after = word[end..].trim_start_matches(['"', '\'', '\\', ']', ')']);
            let separator = after.chars().next().filter(|c| matches!(c, '=' | ':'));
            let option = !program && start == 0 && after.is_empty();
            if !(separator.is_some() || option) || !rules::is_key(run, &self.keys) {
                continue;
            }
            let Some(separator) = separator else {
                // `change_password NAME SECRET`: a verb, and who knows in which order.
                let verb = !run.starts_with('-') && run.contains(['_', '-']);
                let ends = ["password", "passwd"].iter().any(|end| run.to_ascii_lowercase().ends_with(end));
                return if verb && ends { Announced::All } else { Announced::NextWord };
            };
            let value = after[1..].trim_start_matches(['=', '>']);
            let empty = value.trim_matches(['"', '\'', '\\']).is_empty();
            return match (empty, separator) {
                (false, _) => Announced::Value(word.len() - value.len()),
                (true, ':') => Announced::Rest,
                (true, _) => Announced::NextWord,
            };
        }
        Announced::Nothing
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
            let known = rules::begins_like_key(run, &self.prefixes);
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
}

/// Hides the parts of a run that are random, between dots and, in a path, slashes.
fn put_without_random(run: &str, path: bool, out: &mut String) {
    for part in run.split_inclusive(|c| c == '.' || (path && c == '/')) {
        let name = part.trim_end_matches(['.', '/']);
        if rules::is_random(name) {
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
            if quote_open(&rest[blank..end]) {
                return "";
            }
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
    /// All that follows in the command line.
    All,
}

/// What happens to the words after one.
enum Next {
    Show,
    HideWord,
    HideRest,
    HideAll,
    /// The rest of the argument belongs to what was hidden.
    RestHidden,
}

/// End of the word that `text` begins with. Blanks between quotes belong to it, unless the quote is not
/// closed, as an apostrophe is not.
fn word_end(text: &str) -> usize {
    let (mut quote, mut blank) = (None, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => (quote, blank) = (None, None),
            (Some(_), ' ') => blank = blank.or(Some(at)),
            (None, '"' | '\'') => quote = Some(c),
            (None, ' ') => return at,
            _ => {}
        }
    }
    blank.unwrap_or(text.len())
}

/// Whether a quote is open at the word's end: then a secret in it may go on behind it.
fn quote_open(word: &str) -> bool {
    let mut quote = None;
    for c in word.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
    }
    quote.is_some()
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
