//! Commands on the controller's data, beside a running controller or without one.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use sysop_common::time::{DAY_MS, UnixMs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Audit as AuditCommand, Command, EnrollToken, Host, Retention, Token, User, say};
use crate::audit::{self, Audit, Record};
use crate::clock::Clock;
use crate::config::Config;
use crate::identity::{Identity, NewToken};
use crate::store::hosts::{self, HostFilter};
use crate::store::samples::SampleStore;
use crate::store::{Db, api_tokens, certificates, users};
use crate::web::auth::sign_in::check_new;
use crate::web::auth::{Hasher, secret};

/// Who the record names.
const ACTOR: &str = "console";

pub(super) fn run(config: Config, command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(dispatch(config, command))
}

async fn dispatch(config: Config, command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve => bail!("serve is not a command on data"),
        Command::Healthcheck => return healthcheck(&config).await,
        Command::Replay { file, model } => {
            return super::replay::replay(&config, &file, model.as_deref()).await;
        }
        Command::Audit(AuditCommand::Verify { anchor }) => return verify(&config, &anchor).await,
        _ => {}
    }
    let console = Console::open(&config).await?;
    match command {
        Command::Token(Token::Create { name, role, expires }) => console.token(&name, role, expires).await?,
        Command::User(User::Add { name, role }) => console.add_user(&name, role).await?,
        Command::User(User::Passwd { name }) => console.set_password(&name).await?,
        Command::Host(Host::List) => console.list_hosts().await?,
        Command::Host(Host::Revoke { id }) => console.revoke(id, false).await?,
        Command::Host(Host::Remove { id }) => console.revoke(id, true).await?,
        Command::EnrollToken(EnrollToken::Create { name, recovers }) => {
            console.enroll_token(name, recovers).await?
        }
        Command::Retention(Retention::Confirm) => console.confirm_clock(&config).await?,
        Command::Serve | Command::Healthcheck | Command::Audit(_) | Command::Replay { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The controller's data, opened by somebody who can read its folder.
struct Console {
    db: Db,
    identity: Identity,
    audit: Audit,
    now: UnixMs,
}

impl Console {
    async fn open(config: &Config) -> Result<Self> {
        let folder = &config.server.data_dir;
        ensure!(
            folder.join("control.db").exists(),
            "{} holds no controller's data; start the controller once, or name its folder with --data-dir",
            folder.display()
        );
        let db = Db::open_control(folder).await?;
        let identity = Identity::open(&db, folder).await?;
        let clock = Clock::system();
        let audit = Audit::new(identity.controller(), clock.clone());
        Ok(Self { db, identity, audit, now: clock.now() })
    }

    async fn token(&self, name: &str, role: users::Role, days: Option<u16>) -> Result<()> {
        ensure!(users::valid_name(name), "the name {}", users::NAME_RULE);
        let (text, hash) = secret::api_token()?;
        let expires_at = days.map(|days| self.now.plus(i64::from(days) * DAY_MS));
        let new = api_tokens::NewApiToken { hash: &hash, name, role, created_by: ACTOR, expires_at };
        let mut tx = self.db.begin().await?;
        let made = api_tokens::create(&mut tx, new, self.now).await?;
        let detail = json!({ "name": made.name, "role": made.role, "expires_at": made.expires_at });
        let record = Record::new(ACTOR, "token.create", format!("token:{}", made.id), detail);
        self.audit.append(&mut tx, &record).await?;
        tx.commit().await?;
        say(&text);
        Ok(())
    }

    async fn add_user(&self, name: &str, role: users::Role) -> Result<()> {
        ensure!(users::valid_name(name), "the name {}", users::NAME_RULE);
        let password = password()?;
        check_new(name, &password).map_err(anyhow::Error::msg)?;
        let hash = Hasher::default().hash(&password).await?;
        let mut tx = self.db.begin().await?;
        let new = users::NewUser { name, password_hash: &hash, role, must_change: false };
        let made = users::create(&mut tx, new, self.now).await?;
        let detail = json!({ "name": name, "role": role.word() });
        self.audit
            .append(&mut tx, &Record::new(ACTOR, "user.create", format!("user:{}", made.id), detail))
            .await?;
        tx.commit().await?;
        say(&format!("{name} can sign in as {}", role.word()));
        Ok(())
    }

    async fn set_password(&self, name: &str) -> Result<()> {
        let password = password()?;
        check_new(name, &password).map_err(anyhow::Error::msg)?;
        let (user, _) = users::with_password(&self.db, name)
            .await?
            .with_context(|| format!("there is no user {name}"))?;
        let hash = Hasher::default().hash(&password).await?;
        let mut tx = self.db.begin().await?;
        users::set_password(&mut tx, &user.id, &hash, false).await?;
        let record =
            Record::new(ACTOR, "user.password", format!("user:{}", user.id), json!({ "name": name }));
        self.audit.append(&mut tx, &record).await?;
        tx.commit().await?;
        say(&format!("the password of {name} is changed, and all its sessions are ended"));
        Ok(())
    }

    async fn list_hosts(&self) -> Result<()> {
        let mut filter = HostFilter { limit: 500, ..HostFilter::default() };
        loop {
            let page = hosts::list(&self.db, &filter).await?;
            for host in &page {
                say(&format!("{}  {:<32}  agent {}", host.id, host.name, host.agent_version));
            }
            match page.last() {
                Some(last) if page.len() == 500 => filter.after = Some(last.id),
                _ => return Ok(()),
            }
        }
    }

    async fn revoke(&self, id: sysop_common::ids::HostId, remove: bool) -> Result<()> {
        let host = hosts::get(&self.db, id).await?;
        let action = if remove { "host.remove" } else { "host.revoke" };
        let record = Record::new(ACTOR, action, format!("host:{id}"), json!({ "name": host.name }));
        let mut tx = self.db.begin().await?;
        if remove {
            hosts::remove(&mut tx, id, ACTOR, self.now).await?;
        } else {
            certificates::revoke_host(&mut tx, id, ACTOR, self.now).await?;
        }
        self.audit.append(&mut tx, &record).await?;
        tx.commit().await?;
        say(&format!(
            "{} is {}; its sessions end within five seconds",
            host.name,
            if remove { "removed" } else { "revoked" }
        ));
        Ok(())
    }

    async fn enroll_token(&self, name: String, recovers: Option<sysop_common::ids::HostId>) -> Result<()> {
        let new = NewToken { recovers, ..NewToken::single(name.clone(), ACTOR) };
        let mut tx = self.db.begin().await?;
        let made = self.identity.create_token_in(&mut tx, new, self.now).await?;
        let detail = json!({ "name": name, "recovers": recovers, "expires_at": made.expires_at });
        let record =
            Record::new(ACTOR, "enrollment_token.create", format!("enrollment_token:{}", made.id), detail);
        self.audit.append(&mut tx, &record).await?;
        tx.commit().await?;
        say(&made.text);
        super::report(&format!(
            "valid once, for 15 minutes; CA fingerprint sha256:{}",
            self.identity.ca_fingerprint()
        ));
        Ok(())
    }

    async fn confirm_clock(&self, config: &Config) -> Result<()> {
        let Some(since) = SampleStore::confirm_clock_in(&config.server.data_dir, self.now).await? else {
            say("the deletion of old data does not wait: nothing to confirm");
            return Ok(());
        };
        let record = Record::new(ACTOR, "retention.confirm", "clock", json!({ "held_since": since }));
        self.audit.record(&self.db, &record).await?;
        say("the clock is confirmed: what is older than it is kept is deleted within the hour");
        Ok(())
    }
}

/// The first line of standard input.
fn password() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(1024)
        .read_to_string(&mut text)
        .context("the password is read from standard input")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

async fn verify(config: &Config, anchors: &[sysop_common::bytes::Digest]) -> Result<ExitCode> {
    let file = config.server.data_dir.join("control.db");
    let report = audit::verify(&file, anchors).await?;
    for chain in &report.chains {
        say(&format!(
            "controller {}: {} records, {} signed heads, head {}",
            chain.controller, chain.records, chain.signed_heads, chain.head
        ));
    }
    if let Some(ca) = &report.ca {
        say(&format!(
            "signed under the CA sha256:{ca}; {} orders carry a head of these chains",
            report.orders
        ));
    }
    say("every record is as it was written");
    Ok(ExitCode::SUCCESS)
}

/// Asks over plain HTTP on the dashboard's own address, which answers it whatever else it demands.
async fn healthcheck(config: &Config) -> Result<ExitCode> {
    let mut address = config.server.listen;
    if address.ip().is_unspecified() {
        address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    }
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET /api/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), ask)
        .await
        .with_context(|| format!("{address} did not answer within 5 s"))?
        .with_context(|| format!("{address} does not answer; is the controller running?"))?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    say(answer.split("\r\n\r\n").nth(1).unwrap_or_default());
    Ok(if status.contains(" 200 ") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
