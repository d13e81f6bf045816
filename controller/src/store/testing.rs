//! What tests of other steps need to do to a database, kept here because SQL is.

use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::{Db, StoreError};

/// Runs one statement.
pub(crate) async fn try_sql(db: &Db, sql: &'static str) -> Result<u64, StoreError> {
    Ok(sqlx::query(sql).execute(db.write()).await?.rows_affected())
}

/// Does what an attacker with the database's file can: changes what triggers forbid.
pub(crate) async fn tamper(db: &Db, sql: &'static [&'static str]) {
    for trigger in [
        "DROP TRIGGER audit_no_update",
        "DROP TRIGGER audit_no_delete",
        "DROP TRIGGER audit_heads_no_update",
        "DROP TRIGGER audit_heads_no_delete",
    ] {
        try_sql(db, trigger).await.unwrap();
    }
    for statement in sql {
        try_sql(db, statement).await.unwrap();
    }
}

/// Stores a CA's certificate.
pub(crate) async fn authority(db: &Db, certificate: &[u8]) {
    sqlx::query("INSERT INTO authority (id, certificate, wrapped_key, created_at) VALUES (1, ?, x'00', 0)")
        .bind(certificate)
        .execute(db.write())
        .await
        .unwrap();
}

/// Makes a host.
pub(crate) async fn host(db: &Db, id: HostId, name: &str) {
    sqlx::query("INSERT INTO hosts (id, name, created_at) VALUES (?, ?, 0)")
        .bind(id.to_string())
        .bind(name)
        .execute(db.write())
        .await
        .unwrap();
}

/// Gives a host another name, as its agent may at any time.
pub(crate) async fn rename(db: &Db, id: HostId, name: &str) {
    sqlx::query("UPDATE hosts SET name = ? WHERE id = ?")
        .bind(name)
        .bind(id.to_string())
        .execute(db.write())
        .await
        .unwrap();
}

/// Says what a host is and allows, as its agent would.
pub(crate) async fn inventory(db: &Db, id: HostId, inventory: &sysop_common::wire::Inventory) {
    sqlx::query("UPDATE hosts SET inventory = ?, grants = ?, last_seen = 1 WHERE id = ?")
        .bind(serde_json::to_string(inventory).unwrap())
        .bind(serde_json::to_string(&inventory.grants).unwrap())
        .bind(id.to_string())
        .execute(db.write())
        .await
        .unwrap();
}

/// Puts a label on a host.
pub(crate) async fn label(db: &Db, id: HostId, name: &str, value: &str, source: &str) {
    sqlx::query("INSERT OR REPLACE INTO host_labels (host, name, value, source) VALUES (?, ?, ?, ?)")
        .bind(id.to_string())
        .bind(name)
        .bind(value)
        .bind(source)
        .execute(db.write())
        .await
        .unwrap();
}

/// Removes a host.
pub(crate) async fn remove_host(db: &Db, id: HostId) {
    let mut tx = db.begin().await.unwrap();
    super::hosts::remove(&mut tx, id, "ann", UnixMs(99)).await.unwrap();
    tx.commit().await.unwrap();
}

/// Revokes the certificates of a host; tells how many.
pub(crate) async fn revoke_host(db: &Db, id: HostId) -> u64 {
    let mut tx = db.begin().await.unwrap();
    let revoked = super::certificates::revoke_host(&mut tx, id, "ann", UnixMs(99)).await.unwrap();
    tx.commit().await.unwrap();
    revoked
}
