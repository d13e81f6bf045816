//! Checking a database's audit chains offline: hashes, signed heads, heads in orders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use sysop_common::bytes::Digest;
use sysop_common::ids::{ControllerId, hex, sha256};
use sysop_common::order::{self, Order, SignedOrder};
use sysop_common::time::UnixMs;
use sysop_common::wire::limits;

use super::{chain, rows};
use crate::store::audit::{AuditHead, AuditRow};
use crate::store::{Conn, Db, StoreError};

const PAGE: u32 = 1_000;

/// What a sound database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// SHA-256, in hexadecimal, of the CA's certificate that the heads were checked against: compare it with the
    /// fingerprint that hosts were enrolled with.
    pub ca: Option<String>,
    /// The chains.
    pub chains: Vec<ChainReport>,
    /// Orders whose head was found.
    pub orders: usize,
}

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// Whose.
    pub controller: ControllerId,
    /// How many records.
    pub records: u64,
    /// Time of the last one.
    pub last_at: UnixMs,
    /// Its hash: keep it elsewhere, and a later check can be given it.
    pub head: Digest,
    /// Signed heads that were checked.
    pub signed_heads: usize,
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit chain of controller {controller} is broken at record {seq}: {why}")]
pub struct Broken {
    /// In which chain.
    pub controller: ControllerId,
    /// At which record.
    pub seq: u64,
    /// What is wrong.
    pub why: String,
}

/// The check did not come to a good end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A chain is broken.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A head that is known from elsewhere is in no chain.
    #[error("head {0} is in no chain: records were cut off or replaced, or it is of another installation")]
    MissingAnchor(Digest),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks all chains in the control database `file`, and that each of `anchors` (hashes that were
/// kept elsewhere, on paper or in a host's journal) is in one of them.
///
/// # Errors
/// The first thing that is wrong.
pub async fn verify(file: &Path, anchors: &[Digest]) -> Result<Report, VerifyError> {
    let db = Db::open_to_read(file).await?;
    let result = check(&mut *db.reader().await?, anchors).await;
    db.close().await;
    result
}

/// Checks all chains of a database that is open, as [`verify`] does.
///
/// # Errors
/// The first thing that is wrong.
pub async fn verify_open(db: &Db) -> Result<Report, VerifyError> {
    check(&mut *db.reader().await?, &[]).await
}

async fn check(conn: &mut Conn, anchors: &[Digest]) -> Result<Report, VerifyError> {
    let ca = rows::authority(&mut *conn).await?.map(CertificateDer::from);
    let mut heads: BTreeMap<ControllerId, Vec<AuditHead>> = BTreeMap::new();
    for head in rows::heads(&mut *conn).await? {
        heads.entry(head.controller).or_default().push(head);
    }
    let orders = order_heads(&mut *conn).await?;
    let mut wanted: BTreeSet<Digest> =
        orders.iter().map(|(_, head)| *head).chain(anchors.iter().copied()).collect();
    wanted.remove(&chain::GENESIS);
    let mut chains = Vec::new();
    for controller in rows::chains(&mut *conn).await? {
        let heads = heads.remove(&controller).unwrap_or_default();
        chains.push(check_chain(&mut *conn, controller, &heads, ca.as_ref(), &mut wanted).await?);
    }
    if let Some((run, head)) = orders.iter().find(|(_, head)| wanted.contains(head)) {
        let last = chains.first();
        return Err(Broken {
            controller: last.map_or(ControllerId(uuid::Uuid::nil()), |chain| chain.controller),
            seq: last.map_or(1, |chain| chain.records + 1),
            why: format!(
                "run {run} carries head {head}, which is in no chain: records were cut off or replaced"
            ),
        }
        .into());
    }
    if let Some(anchor) = anchors.iter().find(|anchor| wanted.contains(anchor)) {
        return Err(VerifyError::MissingAnchor(*anchor));
    }
    Ok(Report { ca: ca.map(|ca| hex(&sha256(&ca))), chains, orders: orders.len() })
}

/// The head that each signed order carries. An order that does not decode is the dispatch's matter.
async fn order_heads(conn: &mut Conn) -> Result<Vec<(String, Digest)>, StoreError> {
    let head_of = |bytes: &[u8]| -> Option<Digest> {
        let signed: SignedOrder = limits::decode(bytes).ok()?;
        limits::decode::<Order>(&signed.order.0).ok().map(|order| order.audit_head)
    };
    let orders = rows::signed_orders(conn).await?;
    Ok(orders.into_iter().filter_map(|(run, bytes)| Some((run, head_of(&bytes)?))).collect())
}

async fn check_chain(
    conn: &mut Conn,
    controller: ControllerId,
    heads: &[AuditHead],
    ca: Option<&CertificateDer<'_>>,
    wanted: &mut BTreeSet<Digest>,
) -> Result<ChainReport, VerifyError> {
    let broken = |seq, why: String| VerifyError::Broken(Broken { controller, seq, why });
    let mut heads = heads.iter().peekable();
    let mut report =
        ChainReport { controller, records: 0, last_at: UnixMs(0), head: chain::GENESIS, signed_heads: 0 };
    let mut size = PAGE;
    loop {
        let page = match rows::after(&mut *conn, controller, report.records, size).await {
            // One of the page: which one shows when they are read singly.
            Err(StoreError::Corrupt { .. }) if size > 1 => {
                size = 1;
                continue;
            }
            Err(StoreError::Corrupt { why, .. }) => {
                return Err(broken(report.records + 1, format!("the record cannot be read: {why}")));
            }
            page => page?,
        };
        if page.is_empty() {
            break;
        }
        for row in page {
            check_record(&row, &report).map_err(|why| broken(report.records + 1, why))?;
            (report.records, report.last_at, report.head) = (row.seq, row.at, row.hash);
            wanted.remove(&row.hash);
            if let Some(head) = heads.next_if(|head| head.seq == row.seq) {
                check_head(head, &row, ca).map_err(|why| broken(row.seq, why))?;
                report.signed_heads += 1;
            }
        }
    }
    match heads.next() {
        None => Ok(report),
        Some(head) => Err(broken(
            report.records + 1,
            format!(
                "the chain ends here, but a head of record {} was signed: records were cut off",
                head.seq
            ),
        )),
    }
}

fn check_record(row: &AuditRow, before: &ChainReport) -> Result<(), String> {
    if row.seq != before.records + 1 {
        return Err(format!("the record is missing; the next one is {}", row.seq));
    }
    if row.previous != before.head {
        return Err(
            "it does not hold the hash of the record before: one of them was replaced or moved".into()
        );
    }
    if chain::hash(row) != row.hash {
        return Err("its content does not fit its hash: it was changed".into());
    }
    Ok(())
}

fn check_head(head: &AuditHead, row: &AuditRow, ca: Option<&CertificateDer<'_>>) -> Result<(), String> {
    if head.hash != row.hash {
        return Err("its hash is not the one that was signed: the chain was written anew".into());
    }
    let ca = ca.ok_or("the CA's certificate is missing, so no signed head can be checked")?;
    order::check_bytes(
        ca,
        &head.certificate,
        chain::HEAD_DOMAIN,
        &chain::head_bytes(head),
        &head.signature,
        head.at,
    )
    .map_err(|e| format!("the signed head is not good: {e}"))
}
