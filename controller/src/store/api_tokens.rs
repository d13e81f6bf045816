//! Tokens of programs that use the API. Only the SHA-256 of a token is stored.
//!
//! A token speaks for whoever made it: it may never do more than its maker may, and a maker who may
//! not sign in has no tokens either.

use sqlx::FromRow;
use sysop_common::time::UnixMs;
use uuid::Uuid;

use super::users::Role;
use super::{Conn, Db, StoreError};

/// Begins `created_by` when a user made the token.
pub const BY_USER: &str = "user:";

/// A token, without what opens the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Id.
    pub id: String,
    /// Name, for people.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: UnixMs,
    /// End of its life, if it has one.
    pub expires_at: Option<UnixMs>,
    /// Last use, to the minute.
    pub last_used: Option<UnixMs>,
    /// When it was revoked.
    pub revoked_at: Option<UnixMs>,
}

/// A token to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewApiToken<'a> {
    /// SHA-256 of the token.
    pub hash: &'a [u8; 32],
    /// Name, for people.
    pub name: &'a str,
    /// What its holder may do.
    pub role: Role,
    /// Who makes it.
    pub created_by: &'a str,
    /// End of its life, if it has one.
    pub expires_at: Option<UnixMs>,
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    role: String,
    created_by: String,
    created_at: i64,
    expires_at: Option<i64>,
    last_used: Option<i64>,
    revoked_at: Option<i64>,
}

impl Row {
    fn token(self) -> Result<ApiToken, StoreError> {
        Ok(ApiToken {
            role: Role::stored(&self.role)?,
            id: self.id,
            name: self.name,
            created_by: self.created_by,
            created_at: UnixMs(self.created_at),
            expires_at: self.expires_at.map(UnixMs),
            last_used: self.last_used.map(UnixMs),
            revoked_at: self.revoked_at.map(UnixMs),
        })
    }
}

/// Stores a token.
///
/// # Errors
/// [`StoreError::Conflict`] when one of this name lives: records name tokens by their name.
pub async fn create(conn: &mut Conn, token: NewApiToken<'_>, now: UnixMs) -> Result<ApiToken, StoreError> {
    let taken: Option<(i64,)> = sqlx::query_as(
        "SELECT 1 FROM api_tokens WHERE name = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(token.name)
    .bind(now.0)
    .fetch_optional(&mut *conn)
    .await?;
    if taken.is_some() {
        return Err(StoreError::Conflict(
            "a token of this name lives; revoke it first, or choose another name",
        ));
    }
    let id = Uuid::now_v7().to_string();
    sqlx::query(
        "INSERT INTO api_tokens (id, hash, name, role, created_by, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(token.hash.as_slice())
    .bind(token.name)
    .bind(token.role.word())
    .bind(token.created_by)
    .bind(now.0)
    .bind(token.expires_at.map(|at| at.0))
    .execute(conn)
    .await?;
    Ok(ApiToken {
        id,
        name: token.name.to_owned(),
        role: token.role,
        created_by: token.created_by.to_owned(),
        created_at: now,
        expires_at: token.expires_at,
        last_used: None,
        revoked_at: None,
    })
}

/// The token with this hash and what it may do by now, unless it is revoked, its life is over, or its
/// maker may not sign in any more.
///
/// # Errors
/// Only the store's.
pub async fn live(db: &Db, hash: &[u8; 32], now: UnixMs) -> Result<Option<ApiToken>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, name, role, created_by, created_at, expires_at, last_used, revoked_at FROM api_tokens
         WHERE hash = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(hash.as_slice())
    .bind(now.0)
    .fetch_optional(db.read())
    .await?;
    let Some(mut token) = row.map(Row::token).transpose()? else { return Ok(None) };
    let Some(maker) = token.created_by.strip_prefix(BY_USER) else { return Ok(Some(token)) };
    let maker: Option<(String,)> =
        sqlx::query_as("SELECT role FROM users WHERE name = ? AND disabled_at IS NULL")
            .bind(maker)
            .fetch_optional(db.read())
            .await?;
    let Some((role,)) = maker else { return Ok(None) };
    token.role = token.role.min(Role::stored(&role)?);
    Ok(Some(token))
}

/// Notes that the token was used.
///
/// # Errors
/// Only the store's.
pub async fn touch(db: &Db, id: &str, now: UnixMs) -> Result<(), StoreError> {
    sqlx::query("UPDATE api_tokens SET last_used = ? WHERE id = ?")
        .bind(now.0)
        .bind(id)
        .execute(db.write())
        .await?;
    Ok(())
}

/// Tokens, oldest first, after the one with id `after`. Ids rise with time.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db, after: &str, limit: u32) -> Result<Vec<ApiToken>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, name, role, created_by, created_at, expires_at, last_used, revoked_at FROM api_tokens
         WHERE id > ? ORDER BY id LIMIT ?",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(db.read())
    .await?;
    rows.into_iter().map(Row::token).collect()
}

/// Revokes a token and gives its name; one that is revoked stays so.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such token.
pub async fn revoke(conn: &mut Conn, id: &str, now: UnixMs) -> Result<String, StoreError> {
    let row: Option<(String,)> = sqlx::query_as(
        "UPDATE api_tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? RETURNING name",
    )
    .bind(now.0)
    .bind(id)
    .fetch_optional(conn)
    .await?;
    row.map(|(name,)| name).ok_or(StoreError::NotFound("token"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::users;

    #[tokio::test]
    async fn a_token_opens_until_it_expires_or_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_control(dir.path()).await.unwrap();
        let new = |hash, name| NewApiToken {
            hash,
            name,
            role: Role::Operator,
            created_by: "user:ann",
            expires_at: Some(UnixMs(100)),
        };
        let mut tx = db.begin().await.unwrap();
        let user = |name, role| users::NewUser { name, password_hash: "x", role, must_change: false };
        users::create(&mut tx, user("bob", Role::Admin), UnixMs(1)).await.unwrap();
        let ann = users::create(&mut tx, user("ann", Role::Admin), UnixMs(1)).await.unwrap();
        let token = create(&mut tx, new(&[7; 32], "ci"), UnixMs(1)).await.unwrap();
        let again = create(&mut tx, new(&[9; 32], "ci"), UnixMs(1)).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))));
        tx.commit().await.unwrap();
        for (role, disabled, left) in [
            (Role::Viewer, false, Some(Role::Viewer)),
            (Role::Admin, false, Some(Role::Operator)),
            (Role::Admin, true, None),
            (Role::Operator, false, Some(Role::Operator)),
        ] {
            let mut tx = db.begin().await.unwrap();
            users::change(&mut tx, &ann.id, role, disabled, UnixMs(2)).await.unwrap();
            tx.commit().await.unwrap();
            let found = live(&db, &[7; 32], UnixMs(3)).await.unwrap();
            assert_eq!(found.map(|token| token.role), left);
        }
        assert_eq!(live(&db, &[7; 32], UnixMs(99)).await.unwrap().as_ref(), Some(&token));
        assert_eq!(live(&db, &[7; 32], UnixMs(100)).await.unwrap(), None);
        assert_eq!(live(&db, &[8; 32], UnixMs(2)).await.unwrap(), None);
        touch(&db, &token.id, UnixMs(3)).await.unwrap();
        assert_eq!(list(&db, "", 10).await.unwrap()[0].last_used, Some(UnixMs(3)));
        let mut tx = db.begin().await.unwrap();
        assert_eq!(revoke(&mut tx, &token.id, UnixMs(4)).await.unwrap(), "ci");
        assert!(matches!(revoke(&mut tx, "x", UnixMs(4)).await, Err(StoreError::NotFound(_))));
        tx.commit().await.unwrap();
        assert_eq!(live(&db, &[7; 32], UnixMs(5)).await.unwrap(), None);
    }
}
