//! Sessions of the dashboard. Only the SHA-256 of a session's id is stored.

use sqlx::FromRow;
use sysop_common::time::UnixMs;

use super::users::Role;
use super::{Conn, Db, StoreError};

/// Most sessions that one user has at a time; the least recently used one makes room.
const MOST_PER_USER: i64 = 16;

/// A session with its user, as far as a request needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The user's id.
    pub user: String,
    /// The user's sign-in name.
    pub name: String,
    /// The user's role now.
    pub role: Role,
    /// Whether the password must be changed before anything else.
    pub must_change: bool,
    /// Value that a form of this session must carry.
    pub csrf: String,
    /// Last request that counts as use.
    pub last_seen: UnixMs,
    /// End, whatever the use.
    pub expires_at: UnixMs,
}

/// A session to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// SHA-256 of the id.
    pub hash: &'a [u8; 32],
    /// The user's id.
    pub user: &'a str,
    /// Value that forms must carry.
    pub csrf: &'a str,
    /// End, whatever the use.
    pub expires_at: UnixMs,
    /// Where it was opened from, for display.
    pub address: &'a str,
}

#[derive(FromRow)]
struct Row {
    user_id: String,
    name: String,
    role: String,
    must_change: i64,
    csrf: String,
    last_seen: i64,
    expires_at: i64,
}

/// Stores a session.
///
/// # Errors
/// Only the store's.
pub async fn insert(conn: &mut Conn, session: NewSession<'_>, now: UnixMs) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM web_sessions WHERE expires_at <= ?").bind(now.0).execute(&mut *conn).await?;
    sqlx::query(
        "DELETE FROM web_sessions WHERE hash IN (
             SELECT hash FROM web_sessions WHERE user_id = ? ORDER BY last_seen DESC LIMIT -1 OFFSET ?)",
    )
    .bind(session.user)
    .bind(MOST_PER_USER - 1)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO web_sessions (hash, user_id, csrf, created_at, last_seen, expires_at, address)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(session.hash.as_slice())
    .bind(session.user)
    .bind(session.csrf)
    .bind(now.0)
    .bind(now.0)
    .bind(session.expires_at.0)
    .bind(session.address)
    .execute(conn)
    .await?;
    Ok(())
}

/// The session with this hash, unless it is over, unused for `idle_ms`, or its user may not sign in.
///
/// # Errors
/// Only the store's.
pub async fn live(
    db: &Db,
    hash: &[u8; 32],
    idle_ms: i64,
    now: UnixMs,
) -> Result<Option<Session>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT s.user_id, u.name, u.role, u.must_change, s.csrf, s.last_seen, s.expires_at
         FROM web_sessions s JOIN users u ON u.id = s.user_id
         WHERE s.hash = ? AND s.expires_at > ? AND s.last_seen > ? AND u.disabled_at IS NULL",
    )
    .bind(hash.as_slice())
    .bind(now.0)
    .bind(now.plus(-idle_ms).0)
    .fetch_optional(db.read())
    .await?;
    row.map(|row| {
        Ok(Session {
            role: Role::stored(&row.role)?,
            user: row.user_id,
            name: row.name,
            must_change: row.must_change != 0,
            csrf: row.csrf,
            last_seen: UnixMs(row.last_seen),
            expires_at: UnixMs(row.expires_at),
        })
    })
    .transpose()
}

/// Notes that the session was used.
///
/// # Errors
/// Only the store's.
pub async fn touch(db: &Db, hash: &[u8; 32], now: UnixMs) -> Result<(), StoreError> {
    sqlx::query("UPDATE web_sessions SET last_seen = ? WHERE hash = ?")
        .bind(now.0)
        .bind(hash.as_slice())
        .execute(db.write())
        .await?;
    Ok(())
}

/// Ends one session.
///
/// # Errors
/// Only the store's.
pub async fn end(conn: &mut Conn, hash: &[u8; 32]) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM web_sessions WHERE hash = ?").bind(hash.as_slice()).execute(conn).await?;
    Ok(())
}

/// Deletes sessions that are over or were unused for `idle_ms`; tells how many.
///
/// # Errors
/// Only the store's.
pub async fn forget(db: &Db, idle_ms: i64, now: UnixMs) -> Result<u64, StoreError> {
    let done = sqlx::query("DELETE FROM web_sessions WHERE expires_at <= ? OR last_seen <= ?")
        .bind(now.0)
        .bind(now.plus(-idle_ms).0)
        .execute(db.write())
        .await?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::super::users::{self, NewUser};
    use super::*;

    #[tokio::test]
    async fn a_session_ends_by_age_by_idleness_by_its_user_and_by_number() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_control(dir.path()).await.unwrap();
        let new = NewUser { name: "ann", password_hash: "x", role: Role::Admin, must_change: false };
        let mut tx = db.begin().await.unwrap();
        let ann = users::create(&mut tx, new, UnixMs(1)).await.unwrap();
        tx.commit().await.unwrap();
        let add = async |n: u8, at: i64| {
            let hash = [n; 32];
            let session = NewSession {
                hash: &hash,
                user: &ann.id,
                csrf: "c",
                expires_at: UnixMs(at + 1000),
                address: "",
            };
            let mut tx = db.begin().await.unwrap();
            insert(&mut tx, session, UnixMs(at)).await.unwrap();
            tx.commit().await.unwrap();
        };
        let lives = async |n: u8, at: i64| live(&db, &[n; 32], 100, UnixMs(at)).await.unwrap().is_some();
        add(1, 10).await;
        assert!(lives(1, 109).await && !lives(1, 110).await && !lives(2, 20).await);
        touch(&db, &[1; 32], UnixMs(1000)).await.unwrap();
        assert!(lives(1, 1009).await && !lives(1, 1010).await);
        for n in 2..=18 {
            add(n, 500).await;
        }
        touch(&db, &[2; 32], UnixMs(501)).await.unwrap();
        add(19, 502).await;
        assert!(lives(2, 510).await && lives(19, 510).await);
        let left = (1..=19).map(async |n| lives(n, 510).await);
        let mut count = 0;
        for one in left {
            count += i64::from(one.await);
        }
        assert_eq!(count, MOST_PER_USER);
        assert_eq!(forget(&db, 100, UnixMs(510)).await.unwrap(), 0);
        assert_eq!(forget(&db, 100, UnixMs(601)).await.unwrap(), 14);
        let mut tx = db.begin().await.unwrap();
        users::set_password(&mut tx, &ann.id, "y", false).await.unwrap();
        tx.commit().await.unwrap();
        assert!(!lives(19, 510).await);
    }
}
