//! What pages see of the model.

use sysop_common::time::UnixMs;

use super::Advisor;
use crate::analyse::model::client::ModelClient;
use crate::analyse::model::cost::price_version;
use crate::analyse::model::profile::Level;
use crate::web::models::{Change, Doing, ModelState, Models, Preview, Setting, Tried};

impl Models for Advisor {
    fn state(&self) -> ModelState {
        let now = self.lock();
        let model = self.model(&now.here).unwrap_or_else(|_| self.base.clone());
        let setting = |name: &'static str, value: String| {
            let here = now.here.values.iter().any(|(known, value)| *known == name && !value.is_empty());
            Setting { name, value, here }
        };
        let state = now.client.as_ref().map(ModelClient::state);
        let mut profile = Vec::new();
        if let Some(state) = &state {
            let known = &state.profile;
            profile.push(format!("Spoken to as {}", known.server.name()));
            profile.push(format!(
                "Form of answers: {}",
                match known.level {
                    Level::Strict => "the server keeps to the schema",
                    Level::JsonObject => "JSON, the schema stands in the prompt",
                    Level::Plain => "text, the JSON is looked for in it",
                }
            ));
            profile.push(format!("Bound of answers: {}", known.limit.name()));
            profile
                .extend(known.context_tokens.map(|tokens| format!("Cuts requests beyond {tokens} tokens")));
            profile.extend(known.notes.iter().cloned());
        }
        ModelState {
            on: now.here.on,
            ready: model.enabled(),
            key: model.key.is_some(),
            pseudonyms: now.here.pseudonyms,
            settings: vec![
                setting("base_url", model.endpoint.base().to_owned()),
                setting("server", model.server_name().to_owned()),
                setting("name", model.name.clone()),
                setting("language", model.language.clone()),
                setting("interval", format!("{}s", model.interval_ms / 1_000)),
                setting("daily_tokens", model.limits.daily_tokens.to_string()),
                setting("daily_cost", money(model.limits.daily_cost_micro)),
                setting("api_key", String::new()),
            ],
            profile,
            probed_at: state.as_ref().and_then(|state| state.profile.probed_at).map(UnixMs),
            left_alone: state.is_some_and(|state| state.breaker_open),
            limits: (model.limits.daily_tokens, model.limits.daily_cost_micro),
            price_version: if model.prices.is_empty() { String::new() } else { price_version(&model) },
            currency: model.currency,
        }
    }

    fn change<'a>(&'a self, change: Change, who: &'a str) -> Doing<'a, ()> {
        Box::pin(self.apply(change, who))
    }

    fn preview(&self, incident: i64) -> Doing<'_, Preview> {
        Box::pin(self.show(incident))
    }

    fn recording(&self, incident: i64) -> Doing<'_, Vec<u8>> {
        Box::pin(self.record(incident))
    }

    fn test<'a>(&'a self, who: &'a str) -> Doing<'a, Tried> {
        Box::pin(self.attempt(who))
    }
}

fn money(micro: u64) -> String {
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}
