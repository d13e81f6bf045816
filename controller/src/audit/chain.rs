//! What is hashed, and how.

use sysop_common::bytes::Digest;
use sysop_common::ids::sha256;

use crate::store::audit::{AuditHead, AuditRow};

/// The hash before the first record.
pub(super) const GENESIS: Digest = Digest([0; 32]);
/// What is signed before a head's bytes.
pub(super) const HEAD_DOMAIN: &[u8] = b"sysop audit head v1\0";
const RECORD_DOMAIN: &[u8] = b"sysop audit record v1\0";

/// SHA-256 over domain, the record's fields each behind its length, and the hash before.
///
/// Lengths, not separators: no text in a field can pass for the end of it.
pub(super) fn hash(row: &AuditRow) -> Digest {
    let mut bytes = RECORD_DOMAIN.to_vec();
    put(&mut bytes, row.controller.0.as_bytes());
    put(&mut bytes, &row.seq.to_be_bytes());
    put(&mut bytes, &row.at.0.to_be_bytes());
    for text in [&row.actor, &row.action, &row.object, &row.detail] {
        put(&mut bytes, text.as_bytes());
    }
    bytes.extend_from_slice(&row.previous.0);
    Digest(sha256(&bytes))
}

/// What is signed of a head.
pub(super) fn head_bytes(head: &AuditHead) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(80);
    put(&mut bytes, head.controller.0.as_bytes());
    put(&mut bytes, &head.seq.to_be_bytes());
    put(&mut bytes, &head.at.0.to_be_bytes());
    bytes.extend_from_slice(&head.hash.0);
    bytes
}

fn put(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(&(field.len() as u64).to_be_bytes());
    out.extend_from_slice(field);
}
