//! Signing in and out, the first account, changing a password.

use serde_json::json;

use super::principal::{Principal, Way};
use crate::audit::Record;
use crate::config::weak_password;
use crate::store::Tx;
use crate::store::users::{self, NAME_RULE, NewUser, Role, User, valid_name};
use crate::store::web_sessions::{self, NewSession};
use crate::web::error::Problem;
use crate::web::peer::Client;
use crate::web::session;
use crate::web::state::AppState;

/// Why nobody was signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotSignedIn {
    /// Name or password are wrong, whichever.
    Wrong,
    /// The next try counts in so many seconds.
    Wait(u32),
    /// A field must be changed: its name and what it must be.
    Field(&'static str, String),
    /// Something else.
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for NotSignedIn {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// Value of `Set-Cookie` that carries a new session.
pub type Cookie = String;

/// Signs a person in. An unknown name, a wrong password and a disabled user look alike, also in time.
///
/// # Errors
/// See [`NotSignedIn`].
pub async fn sign_in(
    state: &AppState,
    client: &Client,
    name: &str,
    password: &str,
) -> Result<(User, Cookie), NotSignedIn> {
    let account: String = name.trim().chars().take(64).collect::<String>().to_ascii_lowercase();
    take_try(state, client, &account)?;
    let found = users::with_password(&state.db, &account).await?;
    let found = found.filter(|(user, _)| user.disabled_at.is_none());
    let (user, hash) = found.unzip();
    let fits = state.hasher.verify(password, hash.clone()).await?;
    let (Some(user), Some(hash)) = (user.clone().filter(|_| fits), hash) else {
        note_failure(state, client, user.as_ref()).await?;
        return Err(NotSignedIn::Wrong);
    };
    let mut tx = state.db.begin().await?;
    // Checking took a while: a password that was changed meanwhile opens nothing.
    if !users::still_signs_in(&mut tx, &user.id, &hash).await? {
        return Err(NotSignedIn::Wrong);
    }
    state.throttle.give_back(&account, client.source);
    let detail = json!({ "from": client.source });
    let record = Record::new(actor(&user), "session.open", object(&user), detail);
    state.audit.append(&mut tx, &record).await?;
    let cookie = open(state, &mut tx, client, &user).await?;
    tx.commit().await?;
    Ok((user, cookie))
}

/// Guesses are recorded, but whoever guesses cannot fill the chain with them. Only a name that is a
/// user's is: what else was typed may be a password.
async fn note_failure(state: &AppState, client: &Client, user: Option<&User>) -> Result<(), Problem> {
    if !state.throttle.is_worth_a_record(state.now()) {
        return Ok(());
    }
    let about = user.map_or_else(|| "user:unknown".to_owned(), object);
    let record = Record::new("unknown", "session.refuse", about, json!({ "from": client.source }));
    state.audit.record(&state.db, &record).await?;
    Ok(())
}

fn actor(user: &User) -> String {
    format!("user:{}", user.name)
}

fn object(user: &User) -> String {
    format!("user:{}", user.name)
}

/// Makes the first account with the code from the console, and signs it in.
///
/// # Errors
/// See [`NotSignedIn`]; [`Problem::not_found`] when there is an account already.
pub async fn set_up(
    state: &AppState,
    client: &Client,
    code: &str,
    name: &str,
    password: &str,
) -> Result<(User, Cookie), NotSignedIn> {
    take_try(state, client, "setup code")?;
    if !state.setup.fits(code) {
        return Err(NotSignedIn::Field("code", "is not the one on the console".to_owned()));
    }
    state.throttle.give_back("setup code", client.source);
    if !valid_name(name) {
        return Err(NotSignedIn::Field("username", NAME_RULE.to_owned()));
    }
    check_new(name, password).map_err(|must| NotSignedIn::Field("password", must))?;
    let hash = state.hasher.hash(password).await?;
    let new = NewUser { name, password_hash: &hash, role: Role::Admin, must_change: false };
    let mut tx = state.db.begin().await?;
    let Some(user) = users::create_first(&mut tx, new, state.now()).await? else {
        state.setup.close();
        return Err(Problem::not_found("page").into());
    };
    let detail = json!({ "role": "admin", "by": "the setup code", "from": client.source });
    state.audit.append(&mut tx, &Record::new(actor(&user), "user.create", object(&user), detail)).await?;
    let cookie = open(state, &mut tx, client, &user).await?;
    tx.commit().await?;
    state.setup.close();
    Ok((user, cookie))
}

/// Changes the password of the one who asks, ends all its sessions and opens a new one.
///
/// # Errors
/// See [`NotSignedIn`].
pub async fn change_password(
    state: &AppState,
    client: &Client,
    principal: &Principal,
    current: &str,
    new: &str,
) -> Result<Cookie, NotSignedIn> {
    take_try(state, client, &principal.name)?;
    let found = users::with_password(&state.db, &principal.name).await?;
    let (user, hash) = found.unzip();
    if !state.hasher.verify(current, hash).await? {
        return Err(NotSignedIn::Wrong);
    }
    let Some(user) = user else { return Err(NotSignedIn::Wrong) };
    state.throttle.give_back(&principal.name, client.source);
    if new == current {
        return Err(NotSignedIn::Field("password", "must not be the one that you have".to_owned()));
    }
    check_new(&user.name, new).map_err(|must| NotSignedIn::Field("password", must))?;
    let hash = state.hasher.hash(new).await?;
    let mut tx = state.db.begin().await?;
    users::set_password(&mut tx, &user.id, &hash, false).await?;
    let detail = json!({ "from": client.source });
    state.audit.append(&mut tx, &Record::new(actor(&user), "user.password", object(&user), detail)).await?;
    let cookie = open(state, &mut tx, client, &user).await?;
    tx.commit().await?;
    state.ended.wake();
    Ok(cookie)
}

/// Ends the session of the one who asks; gives the cookie that takes it from the browser.
///
/// # Errors
/// Only the store's.
pub async fn sign_out(state: &AppState, client: &Client, principal: &Principal) -> Result<Cookie, Problem> {
    if let Way::Session { hash, .. } = &principal.way {
        let mut tx = state.db.begin().await?;
        web_sessions::end(&mut tx, hash).await?;
        let record = Record::new(
            principal.actor(),
            "session.end",
            principal.actor(),
            json!({ "from": client.source }),
        );
        state.audit.append(&mut tx, &record).await?;
        tx.commit().await?;
        state.ended.wake();
    }
    Ok(session::no_cookie(state.secure(client.https)))
}

/// What `password` must be for `name`, if it is not.
///
/// # Errors
/// What it must be.
pub fn check_new(name: &str, password: &str) -> Result<(), String> {
    if password.eq_ignore_ascii_case(name) {
        return Err("must not be the user name".to_owned());
    }
    weak_password(password).map_or(Ok(()), Err)
}

fn take_try(state: &AppState, client: &Client, account: &str) -> Result<(), NotSignedIn> {
    state.throttle.take(account, client.source, state.now()).map_err(NotSignedIn::Wait)
}

async fn open(state: &AppState, tx: &mut Tx, client: &Client, user: &User) -> Result<Cookie, Problem> {
    let (id, hash) = session::new_id()?;
    let csrf = super::secret::random_text()?;
    let now = state.now();
    let session = NewSession {
        hash: &hash,
        user: &user.id,
        csrf: &csrf,
        expires_at: now.plus(state.auth.session_life_ms),
        address: &client.source.to_string(),
    };
    web_sessions::insert(tx, session, now).await?;
    Ok(session::cookie(&id, state.secure(client.https)))
}
