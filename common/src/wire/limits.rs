//! Caps that hold before anything is allocated.

use serde::de::DeserializeOwned;

/// Most bytes of a frame with samples.
pub const MAX_SAMPLES: usize = 64 * 1024;
/// Most bytes of any other frame.
pub const MAX_MESSAGE: usize = 1024 * 1024;
/// Most bytes of the first message of an unauthenticated peer.
pub const MAX_ENROL: usize = 16 * 1024;
/// Most bytes of a list of probes.
pub const MAX_PROBE_LIST: usize = 256 * 1024;
/// Deepest nesting of CBOR.
pub const MAX_DEPTH: usize = 32;

/// Bytes that do not decode.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A length or count exceeds the bytes that are there.
    #[error("ends too early")]
    Truncated,
    /// Not well-formed, or indefinite lengths, which this protocol does not use.
    #[error("not well-formed")]
    Malformed,
    /// Well-formed, but not what was expected.
    #[error("{0}")]
    Content(#[from] serde_cbor::Error),
}

/// Decodes `bytes`, which must hold exactly one value, after a check of its depth and counts.
///
/// # Errors
/// When the bytes are no such value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    check(bytes)?;
    Ok(serde_cbor::from_slice(bytes)?)
}

/// Walks one CBOR value without recursion: every array, map and string must be covered by bytes
/// that are there, and nothing may nest deeper than [`MAX_DEPTH`].
///
/// # Errors
/// When it is not so.
pub fn check(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut at = 0usize;
    // Items still to come at each open level.
    let mut open = [0u64; MAX_DEPTH + 1];
    let mut depth = 0usize;
    open[0] = 1;
    loop {
        while open[depth] == 0 {
            if depth == 0 {
                return Ok(());
            }
            depth -= 1;
        }
        open[depth] -= 1;
        let (major, argument, next) = head(bytes, at)?;
        at = next;
        let left = (bytes.len() - at) as u64;
        let nested = match major {
            2 | 3 if argument > left => return Err(DecodeError::Truncated),
            2 | 3 => {
                at += argument as usize;
                continue;
            }
            4 => argument,
            5 => argument.checked_mul(2).ok_or(DecodeError::Truncated)?,
            6 => 1,
            _ => continue,
        };
        if nested > left {
            return Err(DecodeError::Truncated);
        }
        depth += 1;
        *open.get_mut(depth).ok_or(DecodeError::TooDeep)? = nested;
    }
}

/// Major type, argument and the position after the head.
fn head(bytes: &[u8], at: usize) -> Result<(u8, u64, usize), DecodeError> {
    let first = *bytes.get(at).ok_or(DecodeError::Truncated)?;
    let (major, info) = (first >> 5, first & 0x1f);
    let width = match info {
        0..=23 => return Ok((major, u64::from(info), at + 1)),
        24 => 1,
        25 => 2,
        26 => 4,
        27 => 8,
        _ => return Err(DecodeError::Malformed),
    };
    let rest = bytes.get(at + 1..at + 1 + width).ok_or(DecodeError::Truncated)?;
    Ok((major, rest.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)), at + 1 + width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_never_believed_before_the_bytes_are_there() {
        // array of 2^32 items, map of 2^63 pairs, string of 2^40 bytes
        for bytes in [
            &[0x9a, 0xff, 0xff, 0xff, 0xff][..],
            &[0xbb, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[0x5b, 0, 0, 1, 0, 0, 0, 0, 0],
            &[0x9f],
            &[],
        ] {
            assert!(decode::<Vec<u8>>(bytes).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn depth_is_capped_without_recursion() {
        let nested = |depth: usize| [vec![0x81; depth], vec![0x00]].concat();
        assert!(check(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(check(&nested(MAX_DEPTH + 1)), Err(DecodeError::TooDeep)));
        assert!(matches!(check(&nested(1_000_000)), Err(DecodeError::TooDeep)));
    }
}
