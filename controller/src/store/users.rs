//! Users of the dashboard and the API.

use sqlx::FromRow;
use sysop_common::time::UnixMs;
use uuid::Uuid;

use super::{Conn, Db, StoreError};

/// What someone may do. Ordered: each role may do what the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, approves, starts runs, acknowledges incidents.
    Operator,
    /// Everything: hosts, users, tokens, assignments.
    Admin,
}

impl Role {
    /// All roles, least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The word for it in the API and the store.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The word for it on pages.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Viewer => "Viewer",
            Self::Operator => "Operator",
            Self::Admin => "Admin",
        }
    }

    /// From its word, in any case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word().eq_ignore_ascii_case(word))
    }

    pub(super) fn stored(word: &str) -> Result<Self, StoreError> {
        Self::from_word(word).ok_or_else(|| StoreError::corrupt("role", word))
    }
}

/// A user, without the password's hash: nothing that lists users can show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Id.
    pub id: String,
    /// Sign-in name.
    pub name: String,
    /// Role.
    pub role: Role,
    /// Whether the password must be changed before anything else.
    pub must_change: bool,
    /// When made.
    pub created_at: UnixMs,
    /// Since when it may not sign in.
    pub disabled_at: Option<UnixMs>,
}

/// A user to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewUser<'a> {
    /// Sign-in name, checked by [`valid_name`].
    pub name: &'a str,
    /// Hash of the password, as a PHC string.
    pub password_hash: &'a str,
    /// Role.
    pub role: Role,
    /// Whether the password must be changed at first sign-in.
    pub must_change: bool,
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    password_hash: String,
    role: String,
    must_change: i64,
    created_at: i64,
    disabled_at: Option<i64>,
}

impl Row {
    fn user(self) -> Result<(User, String), StoreError> {
        let user = User {
            role: Role::stored(&self.role)?,
            id: self.id,
            name: self.name,
            must_change: self.must_change != 0,
            created_at: UnixMs(self.created_at),
            disabled_at: self.disabled_at.map(UnixMs),
        };
        Ok((user, self.password_hash))
    }
}

/// What a sign-in name must be.
pub const NAME_RULE: &str = "must be 1 to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit";

/// Whether `name` may be a sign-in name or a token's name. One spelling per name: lower case only.
#[must_use]
pub fn valid_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    (1..=64).contains(&name.len())
        && name.bytes().all(allowed)
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// Makes a user.
///
/// # Errors
/// [`StoreError::Conflict`] when the name is taken.
pub async fn create(conn: &mut Conn, user: NewUser<'_>, now: UnixMs) -> Result<User, StoreError> {
    let id = Uuid::now_v7().to_string();
    let done = sqlx::query(
        "INSERT INTO users (id, name, password_hash, role, must_change, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(user.name)
    .bind(user.password_hash)
    .bind(user.role.word())
    .bind(i64::from(user.must_change))
    .bind(now.0)
    .execute(conn)
    .await;
    match done {
        Err(sqlx::Error::Database(e)) if e.is_unique_violation() => {
            Err(StoreError::Conflict("a user of this name exists"))
        }
        Err(e) => Err(e.into()),
        Ok(_) => Ok(made(id, user, now)),
    }
}

/// Makes the first user, unless there is one: two requests at once make one user.
///
/// # Errors
/// Only the store's.
pub async fn create_first(
    conn: &mut Conn,
    user: NewUser<'_>,
    now: UnixMs,
) -> Result<Option<User>, StoreError> {
    let id = Uuid::now_v7().to_string();
    let done = sqlx::query(
        "INSERT INTO users (id, name, password_hash, role, must_change, created_at)
         SELECT ?, ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM users)",
    )
    .bind(&id)
    .bind(user.name)
    .bind(user.password_hash)
    .bind(user.role.word())
    .bind(i64::from(user.must_change))
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok((done.rows_affected() == 1).then(|| made(id, user, now)))
}

fn made(id: String, user: NewUser<'_>, now: UnixMs) -> User {
    User {
        id,
        name: user.name.to_owned(),
        role: user.role,
        must_change: user.must_change,
        created_at: now,
        disabled_at: None,
    }
}

/// Whether any user was ever made.
///
/// # Errors
/// Only the store's.
pub async fn any(db: &Db) -> Result<bool, StoreError> {
    let (found,): (i64,) = sqlx::query_as("SELECT EXISTS (SELECT 1 FROM users)").fetch_one(db.read()).await?;
    Ok(found != 0)
}

/// The user called `name` with the hash of the password.
///
/// # Errors
/// Only the store's.
pub async fn with_password(db: &Db, name: &str) -> Result<Option<(User, String)>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM users WHERE name = ?").bind(name).fetch_optional(db.read()).await?;
    row.map(Row::user).transpose()
}

/// The user with this id.
///
/// # Errors
/// Only the store's.
pub async fn get(conn: &mut Conn, id: &str) -> Result<Option<User>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("SELECT * FROM users WHERE id = ?").bind(id).fetch_optional(conn).await?;
    Ok(row.map(Row::user).transpose()?.map(|(user, _)| user))
}

/// Users by name, after `after`.
///
/// # Errors
/// Only the store's.
pub async fn list(db: &Db, after: &str, limit: u32) -> Result<Vec<User>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM users WHERE name > ? ORDER BY name LIMIT ?")
        .bind(after)
        .bind(limit)
        .fetch_all(db.read())
        .await?;
    rows.into_iter().map(|row| row.user().map(|(user, _)| user)).collect()
}

/// Whether the user may still sign in, and with this hash's password.
///
/// # Errors
/// Only the store's.
pub async fn still_signs_in(conn: &mut Conn, id: &str, hash: &str) -> Result<bool, StoreError> {
    let row: Option<(i64,)> =
        sqlx::query_as("SELECT 1 FROM users WHERE id = ? AND password_hash = ? AND disabled_at IS NULL")
            .bind(id)
            .bind(hash)
            .fetch_optional(conn)
            .await?;
    Ok(row.is_some())
}

/// Sets a password and ends all sessions of the user with it.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such user.
pub async fn set_password(
    conn: &mut Conn,
    id: &str,
    hash: &str,
    must_change: bool,
) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE users SET password_hash = ?, must_change = ? WHERE id = ?")
        .bind(hash)
        .bind(i64::from(must_change))
        .bind(id)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound("user"));
    }
    sqlx::query("DELETE FROM web_sessions WHERE user_id = ?").bind(id).execute(conn).await?;
    Ok(())
}

/// Sets role and whether the user may sign in, and ends all sessions of the user: a new role begins
/// with a new session.
///
/// # Errors
/// [`StoreError::Conflict`] when nobody could administer afterwards; [`StoreError::NotFound`].
pub async fn change(
    conn: &mut Conn,
    id: &str,
    role: Role,
    disabled: bool,
    now: UnixMs,
) -> Result<User, StoreError> {
    let done = sqlx::query(
        "UPDATE users SET role = ?, disabled_at = CASE WHEN ? THEN coalesce(disabled_at, ?) END WHERE id = ?",
    )
    .bind(role.word())
    .bind(disabled)
    .bind(now.0)
    .bind(id)
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound("user"));
    }
    let (admins,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM users WHERE role = 'admin' AND disabled_at IS NULL")
            .fetch_one(&mut *conn)
            .await?;
    if admins == 0 {
        return Err(StoreError::Conflict(
            "this is the last user who can administer; make another admin first",
        ));
    }
    sqlx::query("DELETE FROM web_sessions WHERE user_id = ?").bind(id).execute(&mut *conn).await?;
    let row: Row = sqlx::query_as("SELECT * FROM users WHERE id = ?").bind(id).fetch_one(&mut *conn).await?;
    row.user().map(|(user, _)| user)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$";

    fn new(name: &str, role: Role) -> NewUser<'_> {
        NewUser { name, password_hash: HASH, role, must_change: false }
    }

    #[tokio::test]
    async fn the_first_user_is_made_once_and_the_last_admin_stays() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_control(dir.path()).await.unwrap();
        assert!(!any(&db).await.unwrap());
        let mut tx = db.begin().await.unwrap();
        let first = create_first(&mut tx, new("ann", Role::Admin), UnixMs(1)).await.unwrap().unwrap();
        assert!(create_first(&mut tx, new("eve", Role::Admin), UnixMs(1)).await.unwrap().is_none());
        assert!(matches!(
            create(&mut tx, new("ann", Role::Viewer), UnixMs(1)).await,
            Err(StoreError::Conflict(_))
        ));
        let demoted = change(&mut tx, &first.id, Role::Viewer, false, UnixMs(2)).await;
        assert!(matches!(demoted, Err(StoreError::Conflict(_))));
        drop(tx);
        let mut tx = db.begin().await.unwrap();
        let first = create_first(&mut tx, new("ann", Role::Admin), UnixMs(1)).await.unwrap().unwrap();
        create(&mut tx, new("bob", Role::Admin), UnixMs(3)).await.unwrap();
        let off = change(&mut tx, &first.id, Role::Viewer, true, UnixMs(4)).await.unwrap();
        assert_eq!((off.role, off.disabled_at), (Role::Viewer, Some(UnixMs(4))));
        tx.commit().await.unwrap();
        let names: Vec<_> = list(&db, "ann", 10).await.unwrap().into_iter().map(|user| user.name).collect();
        assert_eq!(names, ["bob"]);
    }

    #[test]
    fn a_name_has_one_spelling() {
        for (name, good) in [
            ("ann", true),
            ("a.b-c_1", true),
            ("", false),
            ("Ann", false),
            (".ann", false),
            ("a b", false),
            ("a\n", false),
            ("ána", false),
        ] {
            assert_eq!(valid_name(name), good, "{name:?}");
        }
    }
}
