//! Texts that stand for addresses, languages, amounts and prices.

use std::net::IpAddr;

use url::{Host, Url};

use super::{Endpoint, Price, ServerKind};
use crate::config::units::{duration, list};

/// Languages by the names that people write for them.
const LANGUAGES: [(&str, &str); 16] = [
    ("english", "en"),
    ("vietnamese", "vi"),
    ("tiếng việt", "vi"),
    ("chinese", "zh"),
    ("czech", "cs"),
    ("dutch", "nl"),
    ("french", "fr"),
    ("german", "de"),
    ("indonesian", "id"),
    ("italian", "it"),
    ("japanese", "ja"),
    ("korean", "ko"),
    ("polish", "pl"),
    ("portuguese", "pt"),
    ("spanish", "es"),
    ("thai", "th"),
];

pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let must = || "must be a URL such as https://api.openai.com/v1".to_owned();
    let url = Url::parse(text.trim()).map_err(|_| must())?;
    if url.host_str().is_none_or(str::is_empty) || !matches!(url.scheme(), "https" | "http") {
        return Err(must());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or a password: the key is model.api_key".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end before any ? or #: Azure's version is model.api_version".to_owned());
    }
    let public = match url.host() {
        Some(Host::Ipv4(address)) => !is_private(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => !is_private(IpAddr::V6(address)),
        // A name is looked at when it is resolved.
        _ => false,
    };
    if url.scheme() == "http" && public {
        return Err("must begin with https: over plain HTTP only loopback and private addresses are \
                    spoken to"
            .to_owned());
    }
    Ok(Endpoint(url))
}

/// Whether an address is this machine's, or of a network that is not routed outside.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.is_loopback() || v4.is_private(),
            // Unique local addresses, fc00::/7.
            None => v6.is_loopback() || (v6.segments()[0] & 0xfe00) == 0xfc00,
        },
    }
}

pub(super) fn server(text: &str) -> Result<Option<ServerKind>, String> {
    if text == "auto" {
        return Ok(None);
    }
    let kind = ServerKind::ALL.into_iter().find(|kind| kind.name() == text);
    kind.map(Some).ok_or_else(|| {
        let names: Vec<_> = ServerKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("must be auto, {}", names.join(", "))
    })
}

pub(super) fn model_name(text: &str) -> Result<String, String> {
    let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("must be one word of up to 128 ASCII characters".to_owned()) }
}

pub(super) fn version(text: &str) -> Result<String, String> {
    let fits = (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if fits { Ok(text.to_owned()) } else { Err("must be a version such as 2024-10-21".to_owned()) }
}

/// A language by its tag or by its English name.
pub(super) fn language(text: &str) -> Result<String, String> {
    let lower = text.trim().to_lowercase();
    if let Some((_, tag)) = LANGUAGES.iter().find(|(name, _)| *name == lower) {
        return Ok((*tag).to_owned());
    }
    let mut parts = lower.split('-');
    let first = parts.next().unwrap_or_default();
    let is_tag = (2..=3).contains(&first.len())
        && first.bytes().all(|b| b.is_ascii_alphabetic())
        && lower.len() <= 35
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if is_tag { Ok(text.trim().to_owned()) } else { Err("must be a language such as en or vi".to_owned()) }
}

/// Version 1 wrote whole seconds.
pub(super) fn seconds_or_duration(text: &str) -> Result<i64, String> {
    let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = if bare { format!("{text}s") } else { text.to_owned() };
    duration("30s", "7d")(&text)
}

pub(super) fn whole<T: TryFrom<u64>>(least: u64, most: u64) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let number = text.replace('_', "").parse::<u64>().ok();
        let number = number.filter(|number| (least..=most).contains(number));
        let most = if most == u64::MAX { "on".to_owned() } else { format!("to {most}") };
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("must be a whole number from {least} {most}"))
    }
}

/// An amount with up to six decimals, in millionths.
pub(super) fn money(text: &str) -> Result<u64, String> {
    let must = || "must be an amount such as 2.50, with a point and at most six decimals".to_owned();
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 || whole.len() > 9 {
        return Err(must());
    }
    let whole: u64 = whole.parse().map_err(|_| must())?;
    let part: u64 = format!("{part:0<6}").parse().map_err(|_| must())?;
    Ok(whole * 1_000_000 + part)
}

pub(super) fn currency(text: &str) -> Result<String, String> {
    let fits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
    if fits { Ok(text.to_owned()) } else { Err("must be a code such as USD".to_owned()) }
}

pub(super) fn prices(text: &str) -> Result<Vec<Price>, String> {
    list(text).map(price).collect()
}

fn price(text: &str) -> Result<Price, String> {
    let must = || {
        "must be a list of MODEL=PROMPT/CACHED/COMPLETION, each the price of a million tokens, such as \
         gpt-4o=2.50/1.25/10"
            .to_owned()
    };
    let (model, amounts) = text.rsplit_once('=').ok_or_else(must)?;
    let amounts: Result<Vec<u64>, _> = amounts.split('/').map(money).collect();
    match amounts.map_err(|_| must())?.as_slice() {
        [prompt, cached, completion] => Ok(Price {
            model: model_name(model.trim()).map_err(|_| must())?,
            prompt_micro: *prompt,
            cached_micro: *cached,
            completion_micro: *completion,
        }),
        _ => Err(must()),
    }
}
