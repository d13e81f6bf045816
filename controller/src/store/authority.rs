//! The certificate authority and the controllers' dispatch keys; private keys are stored wrapped.

use std::str::FromStr;

use sysop_common::ids::ControllerId;
use sysop_common::time::UnixMs;

use super::{Db, StoreError};

/// The CA as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityRow {
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key, wrapped by the key file.
    pub wrapped_key: Vec<u8>,
}

/// A controller as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct ControllerRow {
    /// Its id.
    pub id: ControllerId,
    /// Certificate of its dispatch key, DER.
    pub certificate: Vec<u8>,
    /// The dispatch key, wrapped by the key file.
    pub wrapped_key: Vec<u8>,
}

/// The CA, if it was made.
///
/// # Errors
/// When the database cannot be read.
pub async fn get(db: &Db) -> Result<Option<AuthorityRow>, StoreError> {
    let row: Option<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT certificate, wrapped_key FROM authority WHERE id = 1")
            .fetch_optional(db.write())
            .await?;
    Ok(row.map(|(certificate, wrapped_key)| AuthorityRow { certificate, wrapped_key }))
}

/// Stores the CA, unless there is one. Returns the one that is stored.
///
/// # Errors
/// When the database refuses.
pub async fn insert(db: &Db, row: &AuthorityRow, now: UnixMs) -> Result<AuthorityRow, StoreError> {
    sqlx::query(
        "INSERT OR IGNORE INTO authority (id, certificate, wrapped_key, created_at) VALUES (1, ?, ?, ?)",
    )
    .bind(&row.certificate)
    .bind(&row.wrapped_key)
    .bind(now.0)
    .execute(db.write())
    .await?;
    get(db).await?.ok_or(StoreError::NotFound("certificate authority"))
}

/// A controller by its id.
///
/// # Errors
/// When the database cannot be read.
pub async fn controller(db: &Db, id: ControllerId) -> Result<Option<ControllerRow>, StoreError> {
    let row: Option<(Vec<u8>, Vec<u8>)> =
        sqlx::query_as("SELECT dispatch_certificate, wrapped_dispatch_key FROM controllers WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(db.read())
            .await?;
    Ok(row.map(|(certificate, wrapped_key)| ControllerRow { id, certificate, wrapped_key }))
}

/// The certificates of all dispatch keys that ever were, by controller.
///
/// # Errors
/// When the database cannot be read.
pub async fn dispatch_certificates(db: &Db) -> Result<Vec<(ControllerId, Vec<u8>)>, StoreError> {
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT id, dispatch_certificate FROM controllers").fetch_all(db.read()).await?;
    rows.into_iter()
        .map(|(id, certificate)| {
            Ok((ControllerId::from_str(&id).map_err(|e| StoreError::corrupt("controller", e))?, certificate))
        })
        .collect()
}

/// Stores a controller, or its new dispatch key.
///
/// # Errors
/// When the database refuses.
pub async fn put_controller(db: &Db, row: &ControllerRow, now: UnixMs) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO controllers (id, dispatch_certificate, wrapped_dispatch_key, created_at) VALUES (?, ?, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET dispatch_certificate = excluded.dispatch_certificate, \
         wrapped_dispatch_key = excluded.wrapped_dispatch_key",
    )
    .bind(row.id.to_string())
    .bind(&row.certificate)
    .bind(&row.wrapped_key)
    .bind(now.0)
    .execute(db.write())
    .await?;
    Ok(())
}
