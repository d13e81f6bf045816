//! Requests that change something must come from a page of ours.
//!
//! Three walls, each enough for today's browsers: the cookie is `SameSite=Strict`, the request says
//! where it comes from (`Origin`, `Sec-Fetch-Site`), and it carries the session's own value. Bearer
//! tokens are not sent by browsers by themselves and need none of it.

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, Method};
use subtle::ConstantTimeEq as _;

use super::error::Problem;

/// Header that carries the session's value where there is no form.
pub const HEADER: &str = "x-csrf-token";
/// Field that carries it in a form.
pub const FIELD: &str = "csrf";

/// Whether a method only reads.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Checks where a request says that it comes from; `own` is our origin as the browser sees it.
///
/// With `must_say`, as for everything that changes something, a request that says nothing is refused:
/// every browser says it. Otherwise only a foreign word is.
///
/// # Errors
/// When it comes from elsewhere.
pub fn same_origin(headers: &HeaderMap, own: &str, must_say: bool) -> Result<(), Problem> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let (origin, second) = (origins.next(), origins.next());
    if second.is_some() || origin.is_some_and(|origin| origin.as_bytes() != own.as_bytes()) {
        return Err(Problem::foreign(format!("Origin is not {own}")).about("origin"));
    }
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    match (site, must_say) {
        (Some(b"same-origin"), _) | (Some(b"none"), false) | (None, false) => Ok(()),
        (None, true) if origin.is_some() => Ok(()),
        (None, true) => Err(Problem::foreign("the request does not say where it comes from")
            .about("origin")
            .remedy(format!("send Origin: {own}, or use a bearer token"))),
        _ => Err(Problem::foreign("the request was made by another site").about("sec-fetch-site")),
    }
}

/// Whether `sent` is the session's value.
#[must_use]
pub fn fits(expected: &str, sent: Option<&str>) -> bool {
    !expected.is_empty() && sent.is_some_and(|sent| sent.as_bytes().ct_eq(expected.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_origin_may_change_something() {
        let own = "https://sysop.example:8080";
        let case = |origin: Option<&str>, site: Option<&str>, must_say: bool| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            if let Some(site) = site {
                headers.insert("sec-fetch-site", site.parse().unwrap());
            }
            same_origin(&headers, own, must_say).is_ok()
        };
        assert!(case(Some(own), None, true) && case(None, Some("same-origin"), true));
        assert!(case(Some(own), Some("same-origin"), true));
        for foreign in [
            "null",
            "https://sysop.example",
            "http://sysop.example:8080",
            "https://sysop.example:80801",
            "https://sysop.example.evil:8080",
            "https://evil.sysop.example:8080",
            "HTTPS://sysop.example:8080",
            "https://sysop.example:8080/",
            "",
        ] {
            assert!(!case(Some(foreign), None, true) && !case(Some(foreign), None, false), "{foreign}");
            assert!(!case(Some(foreign), Some("same-origin"), true), "{foreign}");
        }
        for site in ["cross-site", "same-site", "", "Same-Origin"] {
            assert!(!case(None, Some(site), true) && !case(Some(own), Some(site), true), "{site}");
            assert!(!case(None, Some(site), false), "{site}");
        }
        assert!(!case(None, None, true) && !case(None, Some("none"), true));
        assert!(case(None, None, false) && case(None, Some("none"), false));
        let mut twice = HeaderMap::new();
        twice.append(ORIGIN, own.parse().unwrap());
        twice.append(ORIGIN, "https://evil.example".parse().unwrap());
        assert!(same_origin(&twice, own, true).is_err());
    }

    #[test]
    fn the_value_fits_its_session_only() {
        assert!(fits("abc", Some("abc")));
        assert!(!fits("abc", Some("abd")) && !fits("abc", None) && !fits("abc", Some("")));
        assert!(!fits("", Some("")) && !fits("", None));
    }
}
