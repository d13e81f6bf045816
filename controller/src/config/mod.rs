//! Settings, one file per concern. Precedence: flag, environment, file, default.

mod agents;
mod auth;
mod model;
mod probes;
mod retention;
mod server;
mod sources;
#[cfg(test)]
mod tests;
mod units;

use std::path::PathBuf;

pub use agents::Agents;
pub use auth::{Auth, InitSecret, LEAST_CHARACTERS, weak_password};
pub use model::{ApiKey, CHANGEABLE, Endpoint, Limits, Model, Price, ServerKind, Timeouts, is_private};
pub use probes::Probes;
pub use retention::Retention;
pub use server::{Environment, Https, LogFormat, Server};
pub use sources::{ConfigError, Sources};
pub use sysop_common::network::Network;

/// Where the file is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/sysop/controller.toml";

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Dashboard, API, files, logs.
    pub server: Server,
    /// Agents' side.
    pub agents: Agents,
    /// Sign-in.
    pub auth: Auth,
    /// How long things are kept.
    pub retention: Retention,
    /// Where probes may ask.
    pub probes: Probes,
    /// The model that may advise.
    pub model: Model,
    /// What a person should know about the settings: printed at start, never an error.
    pub notes: Vec<String>,
}

impl Config {
    /// Reads all settings.
    ///
    /// # Errors
    /// Names the setting, where it came from, and what it must be.
    pub fn load(mut sources: Sources) -> Result<Self, ConfigError> {
        refuse_missing_parts(&sources)?;
        let mut notes = unused(&sources);
        let server = Server::read(&mut sources)?;
        let agents = Agents::read(&mut sources, server.environment)?;
        let auth = Auth::read(&mut sources)?;
        let retention = Retention::read(&mut sources)?;
        let probes = Probes::read(&mut sources)?;
        let model = Model::read(&mut sources)?;
        sources.refuse_unknown()?;
        notes.extend(sources.unknown_variables());
        notes.extend(server.note());
        notes.extend(model.note());
        Ok(Self { server, agents, auth, retention, probes, model, notes })
    }

    /// Settings from the environment, the flags given, and `file`, else the default file if it exists.
    ///
    /// # Errors
    /// When a named file cannot be read, or as [`Config::load`].
    pub fn from_process(
        flags: Vec<(&'static str, String)>,
        file: Option<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let named = file.or_else(|| std::env::var_os("SYSOP_CONFIG").map(PathBuf::from));
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::load(Sources::new(flags, environment.collect(), named, DEFAULT_FILE.as_ref())?)
    }
}

/// A database or cache that is named must be used, or refused: never silently replaced.
fn refuse_missing_parts(sources: &Sources) -> Result<(), ConfigError> {
    for (name, what) in [("MYSQL_HOST", "SQLite in server.data_dir"), ("REDIS_HOST", "the process's memory")]
    {
        if sources.variable(name).is_some() {
            return Err(ConfigError::new(
                format!("{name} (environment)"),
                format!("this build keeps its state embedded ({what}) and cannot use it: unset {name}"),
            ));
        }
    }
    Ok(())
}

/// Variables that are known from version 1 and have nothing to set here.
fn unused(sources: &Sources) -> Vec<String> {
    let known = [(
        "APP_CRAWLER_DELAY",
        "this build watches hosts by agents alone; their interval is agents.interval",
    )];
    let set = known.into_iter().filter(|(name, _)| sources.variable(name).is_some());
    set.map(|(name, why)| format!("{name} is set and has no effect: {why}")).collect()
}
