//! The query part of an address: filters, order and range of a page live there and nowhere else.

use std::fmt::Write as _;

/// Ordered pairs of a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// From the part of an address after `?`. Empty values say nothing and are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
        Self(pairs.filter(|(_, value)| !value.is_empty()).take(32).collect())
    }

    /// This query with one more pair.
    #[must_use]
    pub fn with(&self, key: &str, value: &str) -> Self {
        let mut pairs = self.0.clone();
        pairs.push((key.to_owned(), value.to_owned()));
        Self(pairs)
    }

    /// This query with `key` set to `value` alone, and no place in a list kept from before.
    #[must_use]
    pub fn set(&self, key: &str, value: &str) -> Self {
        self.without_key(key).with(key, value)
    }

    /// This query without `key`; the place in a paged list belongs to the old filters and goes too.
    #[must_use]
    pub fn without_key(&self, key: &str) -> Self {
        Self(self.0.iter().filter(|(k, _)| k != key && k != "after").cloned().collect())
    }

    /// This query without the pair of `key` and `value`.
    #[must_use]
    pub fn without(&self, key: &str, value: &str) -> Self {
        let keep = |(k, v): &&(String, String)| !(k == key && v == value) && k != "after";
        Self(self.0.iter().filter(keep).cloned().collect())
    }

    /// The first value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// `path` with this query.
    #[must_use]
    pub fn href(&self, path: &str) -> String {
        let mut out = path.to_owned();
        for (at, (key, value)) in self.0.iter().enumerate() {
            out.push(if at == 0 { '?' } else { '&' });
            encode(key, &mut out);
            out.push('=');
            encode(value, &mut out);
        }
        out
    }
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:,/@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
