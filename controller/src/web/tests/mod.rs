//! The whole application without a socket: requests in, answers out, a store in a temporary folder.

mod bad_input;
mod doors;
mod hostile;
mod matrix;
mod model;
mod pages;
mod probes;
mod retention;
mod rules;
mod settings;
mod sockets;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use sysop_common::ids::HostId;
use sysop_common::query::Query;
use sysop_common::time::UnixMs;
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::auth::{FirstRun, Hasher, Setup};
use super::peer::Peer;
use super::readings::{Answering, ReadingError, Readings};
use super::state::{AppState, Inputs};
use super::{auth, router};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::identity::Identity;
use crate::probe::Desk;
use crate::store::Db;
use crate::store::api_tokens::{self, NewApiToken};
use crate::store::presence::Presence;
use crate::store::samples::{Options, SampleStore};
use crate::store::users::{self, NewUser, Role};
use crate::wake::Wakes;

const HOSTNAME: &str = "127.0.0.1:8080";
const OWN: &str = "http://127.0.0.1:8080";
const PASSWORD: &str = "correct horse battery";
const START: UnixMs = UnixMs(1_760_000_000_000);

/// Nobody answers.
struct NoHost;

impl Readings for NoHost {
    fn ask(&self, _: HostId, _: Query) -> Answering<'_> {
        Box::pin(async { Err(ReadingError::NotConnected) })
    }
}

struct Web {
    app: Router,
    state: AppState,
    clock: Clock,
    stop: watch::Sender<bool>,
    /// The setup code, when there is no user yet.
    code: Option<String>,
    _dir: TempDir,
}

impl Web {
    /// A controller with a user per role, all with [`PASSWORD`]: `viewer`, `operator`, `admin`.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_control(dir.path()).await.unwrap();
        let hash = password_hash().await;
        for role in Role::ALL {
            let new = NewUser { name: role.word(), password_hash: &hash, role, must_change: false };
            let mut tx = db.begin().await.unwrap();
            users::create(&mut tx, new, START).await.unwrap();
            tx.commit().await.unwrap();
        }
        Self::over(dir, db, &[]).await
    }

    /// A controller that nobody has set up.
    async fn fresh(environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open_control(dir.path()).await.unwrap();
        Self::over(dir, db, environment).await
    }

    async fn over(dir: TempDir, db: Db, environment: &[(&str, &str)]) -> Self {
        let environment: BTreeMap<String, String> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let config =
            Config::load(Sources::new(vec![], environment, None, "/nonexistent".as_ref()).unwrap()).unwrap();
        let hasher = Hasher::default();
        let secret = config.auth.init_secret.clone();
        let clock = Clock::manual(START);
        let identity = Identity::open(&db, dir.path()).await.unwrap();
        let audit = Audit::new(identity.controller(), clock.clone());
        let samples = SampleStore::open(dir.path(), Options::default()).await.unwrap();
        let (setup, first) = Setup::begin(&db, &audit, &hasher, secret.as_ref(), START).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let wakes = Wakes::default();
        let engine = crate::probe::Engine::default();
        let probes = Desk::new(db.clone(), audit.clone(), wakes.clone(), clock.clone(), engine);
        let state = AppState::new(Inputs {
            db,
            samples,
            presence: Presence::default(),
            audit,
            identity,
            readings: Arc::new(NoHost),
            models: Arc::new(super::models::NoModels),
            probes,
            wakes,
            config,
            setup,
            hasher,
            clock: clock.clone(),
            stop: stopped,
            parts: Arc::new(Vec::new),
        });
        let code = match first {
            FirstRun::Code(code) => Some(code),
            _ => None,
        };
        Self { app: router::router(state.clone()), state, clock, stop, code, _dir: dir }
    }

    async fn send(&self, ask: Ask) -> Answer {
        let mut request = Request::builder().method(ask.method).uri(ask.path);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::from(ask.body)).unwrap();
        let address = ask.peer.parse().unwrap();
        request.extensions_mut().insert(Peer { address, tls: ask.tls });
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 16 << 20).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, body: body.to_vec() }
    }

    /// A session of the user with this name, straight from the store: no password is hashed.
    async fn session(&self, name: &str) -> Session {
        let (user, _) = users::with_password(&self.state.db, name).await.unwrap().unwrap();
        let (id, hash) = super::session::new_id().unwrap();
        let csrf = auth::secret::random_text().unwrap();
        let session = crate::store::web_sessions::NewSession {
            hash: &hash,
            user: &user.id,
            csrf: &csrf,
            expires_at: self.state.now().plus(self.state.auth.session_life_ms),
            address: "",
        };
        let mut tx = self.state.db.begin().await.unwrap();
        crate::store::web_sessions::insert(&mut tx, session, self.state.now()).await.unwrap();
        tx.commit().await.unwrap();
        Session { cookie: format!("sysop={id}"), csrf }
    }

    async fn token(&self, role: Role) -> String {
        let (token, hash) = auth::secret::api_token().unwrap();
        let new = NewApiToken {
            hash: &hash,
            name: &token[6..24],
            role,
            created_by: "user:admin",
            expires_at: None,
        };
        let mut tx = self.state.db.begin().await.unwrap();
        api_tokens::create(&mut tx, new, self.state.now()).await.unwrap();
        tx.commit().await.unwrap();
        token
    }

    /// Signs in as a browser does.
    async fn sign_in(&self, name: &str, password: &str) -> Answer {
        self.send(form("/login", &[("username", name), ("password", password)])).await
    }
}

/// One hash for all tests of a run: hashing is slow on purpose.
async fn password_hash() -> String {
    static HASH: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
    HASH.get_or_init(async || Hasher::default().hash(PASSWORD).await.unwrap()).await.clone()
}

#[derive(Clone)]
struct Session {
    cookie: String,
    csrf: String,
}

#[derive(Clone)]
struct Ask {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    peer: &'static str,
    tls: bool,
}

fn ask(method: &str, path: &str) -> Ask {
    Ask {
        method: method.parse().unwrap(),
        path: path.to_owned(),
        headers: vec![(HOST.to_string(), HOSTNAME.to_owned())],
        body: Vec::new(),
        peer: "127.0.0.1:40000",
        tls: false,
    }
}

fn get(path: &str) -> Ask {
    ask("GET", path)
}

/// A form as our own page sends it.
fn form(path: &str, fields: &[(&str, &str)]) -> Ask {
    ask("POST", path)
        .header(ORIGIN.as_str(), OWN)
        .header(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")
        .body(serde_urlencoded::to_string(fields).unwrap())
}

impl Ask {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| n != name);
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn json(self, value: &Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json").body(value.to_string())
    }

    fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    fn cookie(self, cookie: &str) -> Self {
        self.header(COOKIE.as_str(), cookie)
    }

    /// As the session's own page asks: cookie, origin, value.
    fn by(self, session: &Session) -> Self {
        let origin = self.headers.iter().any(|(name, _)| name == ORIGIN.as_str());
        let ask = if origin { self } else { self.header(ORIGIN.as_str(), OWN) };
        ask.cookie(&session.cookie).header(super::csrf::HEADER, &session.csrf)
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {}", self.status, self.text()))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }

    /// The session cookie that was set, as the browser sends it back.
    fn cookie(&self) -> String {
        self.header(SET_COOKIE.as_str()).split(';').next().unwrap_or_default().to_owned()
    }

    fn field(&self) -> String {
        self.json()["field"].as_str().unwrap_or_default().to_owned()
    }
}
