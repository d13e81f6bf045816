//! Finds the paths (`crate::store::Pool`, `tokio::net::UdpSocket`) that a file's code names, tests left out.

use super::lexer::{Kind, Token};

/// A path as written out in full, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// All paths of two segments or more, `self` and `super` resolved against `module` (the file's own module path).
pub(crate) fn paths(tokens: &[Token<'_>], module: &[String]) -> Vec<Path> {
    let mut walk =
        Walk { tokens, at: 0, module: module.to_vec(), inline: Vec::new(), depth: 0, found: Vec::new() };
    walk.run();
    walk.found
}

/// The tokens without the items marked `#[cfg(test)]`.
pub(crate) fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        match test_attribute_end(&tokens[at..]) {
            Some(end) => at += end + item_len(&tokens[at + end..]),
            None => {
                kept.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    kept
}

/// Length of an attribute `#[cfg(… test …)]` that starts here.
fn test_attribute_end(tokens: &[Token<'_>]) -> Option<usize> {
    let kinds: Vec<Kind<'_>> = tokens.iter().take(3).map(|token| token.kind).collect();
    if kinds != [Kind::Punct('#'), Kind::Punct('['), Kind::Ident("cfg")] {
        return None;
    }
    let len = 1 + group_len(&tokens[1..]);
    let names = |name| tokens[..len].iter().any(|token| token.kind == Kind::Ident(name));
    (names("test") && !names("not")).then_some(len)
}

/// Length of the bracketed group that starts here, brackets included.
fn group_len(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Punct('(' | '[' | '{') => depth += 1,
            Kind::Punct(')' | ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Length of one item: up to its `;` or to the end of its block.
fn item_len(tokens: &[Token<'_>]) -> usize {
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Punct(';') => return at + 1,
            Kind::Punct('{') => return at + group_len(&tokens[at..]),
            Kind::Punct('(' | '[') => at += group_len(&tokens[at..]),
            _ => at += 1,
        }
    }
    at
}

struct Walk<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    module: Vec<String>,
    /// Depths at which inline modules opened, so that their end pops the module path.
    inline: Vec<usize>,
    depth: usize,
    found: Vec<Path>,
}

impl Walk<'_> {
    fn kind(&self, ahead: usize) -> Option<Kind<'_>> {
        self.tokens.get(self.at + ahead).map(|token| token.kind)
    }

    fn run(&mut self) {
        while let Some(kind) = self.kind(0) {
            match kind {
                Kind::Ident("use") => {
                    self.at += 1;
                    self.tree(&[]);
                }
                Kind::Ident("mod") => self.enter_module(),
                Kind::Ident(_) => self.plain_path(),
                Kind::Punct('{') => {
                    self.depth += 1;
                    self.at += 1;
                }
                Kind::Punct('}') => {
                    if self.inline.last() == Some(&self.depth) {
                        self.inline.pop();
                        self.module.pop();
                    }
                    self.depth = self.depth.saturating_sub(1);
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
    }

    fn enter_module(&mut self) {
        if let (Some(Kind::Ident(name)), Some(Kind::Punct('{'))) = (self.kind(1), self.kind(2)) {
            let name = name.to_owned();
            self.module.push(name);
            self.depth += 1;
            self.inline.push(self.depth);
            self.at += 3;
        } else {
            self.at += 1;
        }
    }

    /// A path in code; one that continues a method call (`x.y`) or a type's path is taken whole from its start.
    fn plain_path(&mut self) {
        let (start, line) = (self.at, self.tokens[self.at].line);
        let mut segments = Vec::new();
        while let Some(Kind::Ident(name)) = self.kind(0) {
            segments.push(name.to_owned());
            self.at += 1;
            if self.kind(0) == Some(Kind::PathSep) && matches!(self.kind(1), Some(Kind::Ident(_))) {
                self.at += 1;
            } else {
                break;
            }
        }
        let continued = start > 0
            && (self.tokens[start - 1].kind == Kind::Punct('.')
                || (self.tokens[start - 1].kind == Kind::PathSep
                    && start > 1
                    && self.tokens[start - 2].kind == Kind::Punct('>')));
        if !continued {
            self.record(segments, line);
        }
    }

    /// A `use` tree after `prefix`; ends behind its `;`, `,` or `}`.
    fn tree(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            match self.kind(0) {
                Some(Kind::Ident("as")) => self.at += 2,
                Some(Kind::Ident(name)) => {
                    segments.push(name.to_owned());
                    self.at += 1;
                }
                Some(Kind::PathSep) => self.at += 1,
                Some(Kind::Punct('*')) => {
                    segments.push("*".to_owned());
                    self.at += 1;
                }
                Some(Kind::Punct('{')) => {
                    self.at += 1;
                    while !matches!(self.kind(0), None | Some(Kind::Punct('}'))) {
                        self.tree(&segments);
                        if self.kind(0) == Some(Kind::Punct(',')) {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                _ => break,
            }
        }
        if segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        self.record(segments, line);
    }

    fn record(&mut self, segments: Vec<String>, line: usize) {
        if segments.len() < 2 {
            return;
        }
        let segments = match segments.first().map(String::as_str) {
            Some("self" | "super") => self.resolve(&segments),
            _ => segments,
        };
        if segments.len() > 1 {
            self.found.push(Path { segments, line });
        }
    }

    fn resolve(&self, segments: &[String]) -> Vec<String> {
        let ups = segments.iter().filter(|segment| *segment == "super").count();
        let kept = self.module.len().saturating_sub(ups);
        let mut absolute = vec!["crate".to_owned()];
        absolute.extend_from_slice(&self.module[..kept]);
        absolute
            .extend(segments.iter().filter(|segment| !matches!(segment.as_str(), "self" | "super")).cloned());
        absolute
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexer::lex;
    use super::*;

    fn found(source: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
        paths(&without_tests(&lex(source)), &module)
            .into_iter()
            .map(|path| path.segments.join("::"))
            .collect()
    }

    #[test]
    fn use_trees_are_written_out_in_full() {
        assert_eq!(
            found("use crate::{store::{self, Pool as P}, link::*}; use tokio::sync;", &["ingest"]),
            ["crate::store", "crate::store::Pool", "crate::link::*", "tokio::sync"]
        );
    }

    #[test]
    fn super_and_self_are_resolved_through_inline_modules() {
        assert_eq!(
            found("use super::super::store::Pool; self::a::b();", &["link", "session"]),
            ["crate::store::Pool", "crate::link::session::a::b"]
        );
        assert_eq!(
            found("mod inner { use super::x; } use super::y::z;", &["link", "session"]),
            ["crate::link::session::x", "crate::link::y::z"]
        );
    }

    #[test]
    fn paths_in_code_count_and_method_calls_do_not() {
        assert_eq!(
            found("fn f() { std::process::Command::new(x.collect::<Vec<u8>>()) }", &[]),
            ["std::process::Command::new"]
        );
    }

    #[test]
    fn items_marked_as_tests_are_left_out() {
        assert_eq!(
            found(
                "use a::b; #[cfg(test)] mod tests { use c::d; } #[cfg(test)] use e::f; #[cfg(not(test))] use g::h;",
                &[]
            ),
            ["a::b", "g::h"]
        );
    }
}
