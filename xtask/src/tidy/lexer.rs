//! Splits Rust source into the few tokens the checks look at: names, `::`, punctuation, string texts.
//!
//! It knows enough to never mistake a comment, a string or a lifetime for code, and nothing more.

/// One token and the line it starts on (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) line: usize,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A name or keyword, without `r#`.
    Ident(&'a str),
    /// `::`
    PathSep,
    /// The text between a string's quotes, escapes left as they are.
    Str(&'a str),
    /// Any other single character of code.
    Punct(char),
}

/// The tokens of `source`, in order.
pub(crate) fn lex(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { source, at: 0, line: 1, tokens: Vec::new() };
    while lexer.at < source.len() {
        lexer.step();
    }
    lexer.tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.rest()[..bytes].matches('\n').count();
        self.at += bytes;
    }

    fn push(&mut self, kind: Kind<'a>, bytes: usize) {
        let line = self.line;
        self.tokens.push(Token { kind, line });
        self.advance(bytes);
    }

    fn step(&mut self) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return };
        if rest.starts_with("//") {
            self.advance(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.advance(block_comment_len(rest));
        } else if let Some((text, len)) = string_literal(rest) {
            self.push(Kind::Str(text), len);
        } else if first == '\'' {
            self.advance(quote_len(rest));
        } else if first.is_alphabetic() || first == '_' {
            let raw = if rest.starts_with("r#") { 2 } else { 0 };
            let len = ident_len(&rest[raw..]);
            self.push(Kind::Ident(&rest[raw..raw + len]), raw + len);
        } else if first.is_ascii_digit() {
            self.advance(ident_len(rest).max(1));
        } else if rest.starts_with("::") {
            self.push(Kind::PathSep, 2);
        } else if first.is_whitespace() {
            self.advance(first.len_utf8());
        } else {
            self.push(Kind::Punct(first), first.len_utf8());
        }
    }
}

fn ident_len(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

fn block_comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0usize);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of the character literal or lifetime that starts here.
fn quote_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        // The character after the backslash may itself be a quote.
        Some((_, '\\')) => {
            rest.get(3..).and_then(|tail| tail.find('\'')).map_or(rest.len(), |end| 3 + end + 1)
        }
        Some(_) => match chars.next() {
            Some((end, '\'')) => end + 1,
            _ => 1 + ident_len(&rest[1..]),
        },
        None => 1,
    }
}

/// A plain, byte, C or raw string that starts here: its text and its whole length.
fn string_literal(rest: &str) -> Option<(&str, usize)> {
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .into_iter()
        .find(|prefix| rest.strip_prefix(prefix).is_some_and(|tail| tail.starts_with(['"', '#'])))?;
    let body = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let text = body[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        let end = text.find(&close).unwrap_or(text.len());
        return Some((&text[..end], (prefix.len() + hashes + 1 + end + close.len()).min(rest.len())));
    }
    let text = body.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some((&text[..at], prefix.len() + at + 2)),
            _ => {}
        }
    }
    Some((text, rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idents(source: &str) -> Vec<&str> {
        lex(source)
            .iter()
            .filter_map(|token| match token.kind {
                Kind::Ident(name) => Some(name),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn comments_strings_and_lifetimes_hold_no_names() {
        let source = r###"fn a<'x>(b: &'x str) { /* c /* d */ e */ let f = "g \" h"; let i = r#"j " k"#; 'l'; '\''; b"m"; } // n"###;
        assert_eq!(idents(source), ["fn", "a", "b", "str", "let", "f", "let", "i"]);
    }

    #[test]
    fn lines_are_counted_through_comments_and_strings() {
        let tokens = lex("/* 1\n 2 */ \"3\n4\" name");
        assert_eq!(tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn a_raw_name_and_an_unclosed_string_are_survived() {
        assert_eq!(idents("r#type \"open"), ["type"]);
        assert_eq!(idents("é 'é' x"), ["é", "x"]);
    }
}
