//! The dashboard's session cookie: an opaque random id, nothing else.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use sysop_common::ids::sha256;

use super::auth::secret::{self, NoRandom};

/// Name where cookies are `Secure`: the prefix binds it to this host and to HTTPS.
const SECURE_NAME: &str = "__Host-sysop";
/// Name over plain HTTP on the loopback.
const PLAIN_NAME: &str = "sysop";

const fn name(secure: bool) -> &'static str {
    if secure { SECURE_NAME } else { PLAIN_NAME }
}

/// A new session id: what the browser gets, and the hash that is stored.
///
/// # Errors
/// When the system has no random bytes.
pub fn new_id() -> Result<(String, [u8; 32]), NoRandom> {
    let id = secret::random_text()?;
    let hash = sha256(id.as_bytes());
    Ok((id, hash))
}

/// Value of `Set-Cookie` that hands out `id`. It ends with the browser; the server ends it earlier.
#[must_use]
pub fn cookie(id: &str, secure: bool) -> String {
    let flag = if secure { "; Secure" } else { "" };
    format!("{}={id}; Path=/; HttpOnly; SameSite=Strict{flag}", name(secure))
}

/// Value of `Set-Cookie` that takes the session back.
#[must_use]
pub fn no_cookie(secure: bool) -> String {
    format!("{}; Max-Age=0", cookie("", secure))
}

/// Hash of the session id that a request presents. Two cookies of the name are none: one of them was
/// put there by someone else.
#[must_use]
pub fn presented(headers: &HeaderMap, secure: bool) -> Option<[u8; 32]> {
    let mut found = cookies(headers).filter(|(key, _)| *key == name(secure)).map(|(_, value)| value);
    let first = found.next()?;
    if found.next().is_some() { None } else { secret::session_hash(first) }
}

/// The value of the cookie called `name`, for what is not secret.
#[must_use]
pub fn plain<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    cookies(headers).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, cookie.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_session_cookie_is_opaque_random_only_and_bound_to_this_host() {
        let (id, hash) = new_id().unwrap();
        assert_eq!(
            cookie(&id, true),
            format!("__Host-sysop={id}; Path=/; HttpOnly; SameSite=Strict; Secure")
        );
        assert_eq!(presented(&headers(&[&format!("a=b; __Host-sysop={id}")]), true), Some(hash));
        assert_eq!(presented(&headers(&[&format!("sysop={id}")]), true), None);
        assert_eq!(presented(&headers(&[&format!("sysop={id}")]), false), Some(hash));
        let twice = format!("sysop={id}; sysop={id}");
        assert_eq!(presented(&headers(&[&twice]), false), None);
        let in_two = [format!("sysop={id}"), "sysop=x".to_owned()];
        assert_eq!(presented(&headers(&[&in_two[0], &in_two[1]]), false), None);
        assert_eq!(presented(&headers(&["sysop=user:admin"]), false), None);
    }
}
