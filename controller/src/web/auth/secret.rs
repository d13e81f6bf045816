//! Random values, and the form of what opens doors.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use sysop_common::ids::sha256;

/// The system gives no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random generator gives no bytes")]
pub struct NoRandom;

/// Before every API token, so that one that leaked is found by searching for it.
pub const API_TOKEN_PREFIX: &str = "sysop_";

/// Characters of 256 bits in base64url.
const SECRET_LEN: usize = 43;

/// `N` random bytes.
///
/// # Errors
/// When the system has none.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

/// 256 random bits as text.
///
/// # Errors
/// When the system has none.
pub fn random_text() -> Result<String, NoRandom> {
    Ok(URL_SAFE_NO_PAD.encode(random::<32>()?))
}

/// A new API token, and the hash that is stored of it.
///
/// # Errors
/// When the system has no random bytes.
pub fn api_token() -> Result<(String, [u8; 32]), NoRandom> {
    let token = format!("{API_TOKEN_PREFIX}{}", random_text()?);
    let hash = sha256(token.as_bytes());
    Ok((token, hash))
}

/// The hash of what may be an API token; `None` when it cannot be one.
#[must_use]
pub fn api_token_hash(text: &str) -> Option<[u8; 32]> {
    let secret = text.strip_prefix(API_TOKEN_PREFIX)?;
    is_secret(secret).then(|| sha256(text.as_bytes()))
}

/// The hash of what may be a session's id; `None` when it cannot be one.
#[must_use]
pub fn session_hash(text: &str) -> Option<[u8; 32]> {
    is_secret(text).then(|| sha256(text.as_bytes()))
}

fn is_secret(text: &str) -> bool {
    text.len() == SECRET_LEN && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Letters and digits that are not taken for one another (Crockford's base 32).
const CODE_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A code for people: three groups of four, 60 bits.
///
/// # Errors
/// When the system has no random bytes.
pub fn code() -> Result<String, NoRandom> {
    let bytes = random::<12>()?;
    let mut code = String::with_capacity(14);
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(CODE_ALPHABET[usize::from(byte & 31)]));
    }
    Ok(code)
}

/// A typed code in the form that is compared: without what people add, with what they confuse set right.
#[must_use]
pub fn normal_code(typed: &str) -> String {
    let set_right = |c: char| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        c => c,
    };
    typed.chars().filter(|c| c.is_ascii_alphanumeric()).take(64).map(set_right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_by_its_form_and_never_stored() {
        let (token, hash) = api_token().unwrap();
        assert_eq!(api_token_hash(&token), Some(hash));
        assert_ne!(api_token().unwrap().0, token);
        let cut = &token[..token.len() - 1];
        for bad in ["", "sysop_", cut, &token.replace("sysop_", "Sysop_"), &format!("{token}=")] {
            assert_eq!(api_token_hash(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = code().unwrap();
        assert_eq!(code.len(), 14);
        assert_eq!(
            normal_code(&format!(" {} ", code.to_lowercase().replace('-', " "))),
            code.replace('-', "")
        );
        assert_eq!(normal_code("oOiIlL"), "001111");
    }
}
