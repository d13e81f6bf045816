//! The body of a request, by the server's profile.

use serde_json::{Map, Value, json};

use super::ask::{AskRequest, Role};
use super::profile::{Level, Profile};

/// Whether the request and its answer fit into what the server reads at once, where that is known. By four
/// bytes to a token, which is the least that English and JSON have: it is better to try than to give up.
pub(super) fn fits(profile: &Profile, request: &AskRequest) -> bool {
    let texts: usize = request.messages.iter().map(|message| message.text.len()).sum();
    let tokens = (request.system_prefix.len() + texts) as u64 / 4;
    let needed = tokens.saturating_add(u64::from(request.max_output_tokens));
    profile.context_tokens.is_none_or(|window| needed <= window)
}

/// Builds the body. What no profile needs (temperature, tools, streams) is left out: some model of each
/// family rejects it.
pub(super) fn body(profile: &Profile, model: &str, request: &AskRequest) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("messages".to_owned(), messages(profile, request));
    body.insert("stream".to_owned(), json!(false));
    body.insert(profile.limit.name().to_owned(), json!(request.max_output_tokens));
    if let Some(format) = format(profile.level, &request.schema) {
        body.insert("response_format".to_owned(), format);
    }
    Value::Object(body)
}

fn format(level: Level, schema: &Value) -> Option<Value> {
    match level {
        Level::Strict => Some(json!({
            "type": "json_schema",
            "json_schema": { "name": "answer", "strict": true, "schema": schema },
        })),
        Level::JsonObject => Some(json!({ "type": "json_object" })),
        Level::Plain => None,
    }
}

/// The prefix comes first and byte for byte, so that servers find it in their cache.
fn messages(profile: &Profile, request: &AskRequest) -> Value {
    let mut rest = request.messages.as_slice();
    let mut system = request.system_prefix.clone();
    if profile.one_system_message() {
        while let [first, after @ ..] = rest
            && first.role == Role::System
        {
            system.push_str("\n\n");
            system.push_str(&first.text);
            rest = after;
        }
    }
    let first = json!({ "role": "system", "content": system });
    let others = rest.iter().map(|message| json!({ "role": message.role.name(), "content": message.text }));
    std::iter::once(first).chain(others).collect()
}
