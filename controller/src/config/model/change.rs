//! What an admin may set while the controller runs, in the same grammar as in the file.

use super::parse::{endpoint, language, model_name, money, seconds_or_duration, server, whole};
use super::{Model, ServerKind};

/// Names of the settings of `[model]` that may be changed while the controller runs.
pub const CHANGEABLE: [&str; 8] =
    ["base_url", "server", "name", "language", "interval", "daily_tokens", "daily_cost", "api_key"];

impl Model {
    /// Sets one of [`CHANGEABLE`].
    ///
    /// # Errors
    /// What it must be.
    pub fn change(&mut self, name: &str, text: &str) -> Result<(), String> {
        match name {
            "base_url" => (self.endpoint, self.named) = (endpoint(text)?, true),
            "server" => self.server = server(text)?,
            "name" => self.name = model_name(text)?,
            "language" => self.language = language(text)?,
            "interval" => self.interval_ms = seconds_or_duration(text)?,
            "daily_tokens" => self.limits.daily_tokens = whole(0, u64::MAX)(text)?,
            "daily_cost" => self.limits.daily_cost_micro = money(text)?,
            "api_key" => self.key = Some(text.parse()?),
            _ => return Err(format!("is not one of {}", CHANGEABLE.join(", "))),
        }
        Ok(())
    }

    /// The kind of server, as it is written.
    #[must_use]
    pub fn server_name(&self) -> &'static str {
        self.server.map_or("auto", ServerKind::name)
    }
}
