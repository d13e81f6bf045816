//! Keeps what probing found: a row of the settings, renewed once a day and when the server changes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sysop_common::ids::sha256;
use sysop_common::time::{DAY_MS, UnixMs};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Model;
use crate::store::{Db, StoreError, settings};

use super::client::ModelClient;
use super::error::AskError;
use super::probe::{Probed, probe};
use super::profile::Profile;

/// Name of the row.
const ROW: &str = "model.profile";
/// After a failure it is tried again after so long.
const AGAIN: Duration = Duration::from_secs(10 * 60);
/// What is known is looked at this often.
const LOOK: Duration = Duration::from_secs(60 * 60);

#[derive(Serialize, Deserialize)]
struct Row {
    /// Address, model and kind that it holds for.
    of: String,
    profile: Profile,
}

/// Takes what is known, and probes when nothing is, when it is a day old, or when it holds for another
/// server, until `shutdown` turns true. What a probe took is told to `spent`.
pub async fn keep_known(
    client: ModelClient,
    db: Db,
    clock: Clock,
    spent: impl Fn(&Probed) + Send,
    mut shutdown: watch::Receiver<bool>,
) {
    if !client.settings().enabled() {
        return;
    }
    while !*shutdown.borrow() {
        let pause = match renew(&client, &db, &clock, &spent).await {
            Ok(()) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "what the model's server can do is not known; trying again later");
                AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}

/// Probing, or the row, failed.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// The server.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The row.
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) async fn renew(
    client: &ModelClient,
    db: &Db,
    clock: &Clock,
    spent: &(impl Fn(&Probed) + Send),
) -> Result<(), KnownError> {
    if let Some(profile) = stored(client, db, clock).await? {
        if profile != client.profile() {
            client.set_profile(profile);
        }
        return Ok(());
    }
    probe_now(client, db, clock, spent).await.map(|_| ())
}

/// Probes now, and keeps what was found: for the settings' button, too.
///
/// # Errors
/// When the server cannot be asked, or the row not be written.
pub async fn probe_now(
    client: &ModelClient,
    db: &Db,
    clock: &Clock,
    spent: impl Fn(&Probed),
) -> Result<Probed, KnownError> {
    let probed = probe(client, clock.now().0).await?;
    spent(&probed);
    client.set_profile(probed.profile.clone());
    let row = Row { of: of(client.settings()), profile: probed.profile.clone() };
    let text = serde_json::to_string(&row).map_err(|e| StoreError::corrupt("model.profile", e))?;
    let mut tx = db.begin().await?;
    settings::set(&mut tx, ROW, &text, clock.now()).await?;
    tx.commit().await?;
    tracing::info!(
        server = probed.profile.server.name(),
        level = ?probed.profile.level,
        limit = probed.profile.limit.name(),
        notes = ?probed.profile.notes,
        "probed what the model's server can do"
    );
    Ok(probed)
}

/// What is known and holds still.
async fn stored(client: &ModelClient, db: &Db, clock: &Clock) -> Result<Option<Profile>, StoreError> {
    let mut reader = db.reader().await?;
    let Some(text) = settings::get(&mut reader, ROW).await? else { return Ok(None) };
    // A row that cannot be read is as good as none: probing makes it anew.
    let Ok(row) = serde_json::from_str::<Row>(&text) else { return Ok(None) };
    let holds = row.of == of(client.settings()) && is_fresh(&row.profile, clock.now());
    Ok(holds.then_some(row.profile))
}

fn is_fresh(profile: &Profile, now: UnixMs) -> bool {
    profile.probed_at.is_some_and(|at| (0..DAY_MS).contains(&now.0.saturating_sub(at)))
}

fn of(model: &Model) -> String {
    let kind = model.server.map_or("auto", |kind| kind.name());
    let whole = format!("{}\n{}\n{kind}\n{}", model.endpoint.base(), model.name, model.api_version);
    sha256(whole.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
