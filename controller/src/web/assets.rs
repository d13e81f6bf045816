//! Styles, scripts, fonts and icons, embedded by `build.rs` and served under names made of their content.

use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

/// Path of an icon inside the sprite.
#[derive(Debug, Clone, Copy)]
pub struct Icon(pub(super) &'static str);

/// A file as it is served.
pub(super) struct Asset {
    name: &'static str,
    mime: &'static str,
    etag: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/web/table.rs"));

/// A name holds a digest of its content, so a browser may keep it for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// `GET /assets/{name}`: exact names only; nothing is looked up in a file system.
pub async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Ok(at) = TABLE.binary_search_by_key(&name.as_str(), |asset| asset.name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let asset = &TABLE[at];
    let fixed = [(ETAG, asset.etag), (CACHE_CONTROL, FOR_EVER), (VARY, "accept-encoding")];
    if header(&headers, &IF_NONE_MATCH).split(',').any(|tag| tag.trim() == asset.etag) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    match asset.gzip.filter(|_| accepts_gzip(header(&headers, &ACCEPT_ENCODING))) {
        Some(zipped) => {
            let typed = [(CONTENT_TYPE, asset.mime), (CONTENT_ENCODING, "gzip")];
            (fixed, typed, zipped).into_response()
        }
        None => (fixed, [(CONTENT_TYPE, asset.mime)], asset.plain).into_response(),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &axum::http::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn accepts_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(name: &str, headers: &[(axum::http::HeaderName, &str)]) -> Response {
        let headers = headers.iter().map(|(k, v)| (k.clone(), v.parse().unwrap())).collect();
        serve(Path(name.to_owned()), headers).await
    }

    #[tokio::test]
    async fn an_asset_is_found_by_its_exact_name_only() {
        let name = LOOK_CSS.trim_start_matches("/assets/");
        let found = get(name, &[]).await;
        assert_eq!(found.status(), StatusCode::OK);
        assert_eq!(found.headers()[CACHE_CONTROL], FOR_EVER);
        for wrong in ["", "look.css", "../assets.rs", "look.css/", "LOOK"] {
            assert_eq!(get(wrong, &[]).await.status(), StatusCode::NOT_FOUND, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_browser_that_has_it_gets_no_body_and_one_that_can_unpack_gets_it_packed() {
        let name = APP_JS.trim_start_matches("/assets/");
        let packed = get(name, &[(ACCEPT_ENCODING, "br, gzip;q=0.8")]).await;
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        let etag = packed.headers()[ETAG].to_str().unwrap().to_owned();
        let again = get(name, &[(IF_NONE_MATCH, &etag)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let plain = get(name, &[(ACCEPT_ENCODING, "gzip;q=0, br")]).await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
    }

    #[test]
    fn all_scripts_together_stay_below_eighty_kilobytes_packed() {
        let scripts = TABLE.iter().filter(|asset| asset.mime.starts_with("text/javascript"));
        let packed: usize = scripts.filter_map(|asset| asset.gzip).map(<[u8]>::len).sum();
        assert!(packed < 80_000, "{packed} B");
    }
}
