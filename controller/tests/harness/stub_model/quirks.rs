//! The habits of servers: what each turns away, what it ignores, how it lists its models, how it fails.

use serde_json::{Value, json};

use super::http::Reply;
use super::{KEY, Seen};

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Emulate {
    OpenAi,
    Azure,
    Ollama,
    Vllm,
    LlamaCpp,
    Generic,
}

impl Emulate {
    pub const ALL: [Self; 6] =
        [Self::OpenAi, Self::Azure, Self::Ollama, Self::Vllm, Self::LlamaCpp, Self::Generic];

    /// Its name in the product's settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Ollama => "ollama",
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llamacpp",
            Self::Generic => "generic",
        }
    }

    /// Whether a schema that is sent is kept to.
    pub fn enforces_schema(self) -> bool {
        self != Self::Generic
    }

    /// Most tokens of a prompt; the rest is cut without a word.
    pub fn window(self) -> Option<usize> {
        (self == Self::Ollama).then_some(4_096)
    }

    /// Whether it counts tokens.
    pub fn counts(self) -> bool {
        self != Self::Generic
    }

    /// The bound of an answer, as the server understands it.
    pub fn limit(self, body: &Value) -> Option<usize> {
        let field = |name| body.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let (new, old) = (field("max_completion_tokens"), field("max_tokens"));
        match self {
            Self::OpenAi | Self::Azure => new,
            Self::Ollama | Self::Generic => old,
            Self::Vllm | Self::LlamaCpp => new.or(old),
        }
    }

    /// An error in the form that the server has.
    pub fn error(self, status: u16, code: &str, message: &str) -> Value {
        match self {
            Self::Ollama => {
                json!({ "error": { "message": message, "type": "api_error", "param": null, "code": null } })
            }
            // The code is a number.
            Self::Vllm => {
                json!({ "error": { "message": message, "type": code, "param": null, "code": status } })
            }
            Self::LlamaCpp => json!({ "error": { "code": status, "message": message, "type": code } }),
            Self::Generic => json!({ "error": message }),
            Self::OpenAi | Self::Azure => {
                json!({ "error": { "message": message, "type": code, "param": null, "code": code } })
            }
        }
    }
}

/// What no profile of ours should ever send.
const NEVER: [&str; 14] = [
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "functions",
    "n",
    "seed",
    "user",
    "logprobs",
    "stop",
    "guided_json",
    "num_ctx",
    "options",
    "stream_options",
];

/// What was sent and should not have been.
pub(super) fn violations(emulate: Emulate, seen: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |text: String| found.push(format!("{} {}: {text}", emulate.name(), seen.path));
    if seen.header("accept-encoding").is_some_and(|value| value != "identity") {
        say("asks for compression".to_owned());
    }
    if seen.header("cookie").is_some() || seen.header("referer").is_some() {
        say("tells more than it needs to".to_owned());
    }
    if seen.method != "POST" {
        return found;
    }
    for field in NEVER.iter().filter(|field| seen.body.get(**field).is_some()) {
        say(format!("sends {field}"));
    }
    if seen.body.get("stream").and_then(Value::as_bool) != Some(false) {
        say("does not say that it wants no stream".to_owned());
    }
    if seen.body.get("max_tokens").is_some() && seen.body.get("max_completion_tokens").is_some() {
        say("sends both limits".to_owned());
    }
    if let Some(schema) = seen.body.pointer("/response_format/json_schema/schema")
        && let Some(why) = not_strict(schema)
    {
        say(format!("its schema {why}"));
    }
    // Text of a host has no place in what the operator says.
    let secret = seen.body.to_string().contains(KEY);
    if secret {
        say("the key stands in the body".to_owned());
    }
    found
}

/// What strict formats do not take.
fn not_strict(schema: &Value) -> Option<String> {
    let forbidden =
        ["pattern", "minimum", "maximum", "minLength", "maxLength", "oneOf", "allOf", "if", "format"];
    if let Some(word) = forbidden.iter().find(|word| schema.get(**word).is_some()) {
        return Some(format!("contains {word}"));
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let required = schema.get("required").and_then(Value::as_array).map_or(0, Vec::len);
        if required != properties.len() {
            return Some("does not require every field".to_owned());
        }
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Some("allows further fields".to_owned());
        }
        if let Some(why) = properties.values().find_map(not_strict) {
            return Some(why);
        }
    }
    schema.get("items").and_then(not_strict)
}

/// What the server answers before any model is asked.
pub(super) fn turned_away(emulate: Emulate, seen: &Seen) -> Option<Reply> {
    let error =
        |status, code: &str, text: &str| Some(Reply::json(status, &emulate.error(status, code, text)));
    let azure = emulate == Emulate::Azure;
    let path = seen.path.as_str();
    let fits = if azure {
        let deployment = path.starts_with("/openai/deployments/") && path.ends_with("/chat/completions");
        (deployment || path == "/openai/models") && seen.query.contains("api-version=")
    } else {
        matches!(path, "/v1/chat/completions" | "/v1/models")
    };
    if !fits {
        return error(404, "not_found", "no such route");
    }
    let key = if azure {
        seen.header("api-key").map(str::to_owned)
    } else {
        seen.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned)
    };
    let wants_key = matches!(emulate, Emulate::OpenAi | Emulate::Azure);
    if (wants_key || key.is_some()) && key.as_deref() != Some(KEY) {
        let text = format!("Incorrect API key provided: {}.", key.unwrap_or_default());
        return error(401, "invalid_api_key", &text);
    }
    if seen.method != "POST" {
        return None;
    }
    let body = &seen.body;
    let format = body.pointer("/response_format/type").and_then(Value::as_str);
    match emulate {
        Emulate::OpenAi | Emulate::Azure => {
            if body.get("max_tokens").is_some() {
                let text = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
                return error(400, "unsupported_parameter", text);
            }
            if format == Some("json_object") && !seen.prompt().to_lowercase().contains("json") {
                return error(
                    400,
                    "invalid_request_error",
                    "'messages' must contain the word 'json' to use 'response_format'",
                );
            }
            None
        }
        Emulate::Generic if format == Some("json_object") => {
            error(400, "invalid", "'response_format.type' must be 'json_schema' or 'text'")
        }
        _ => None,
    }
}

/// The list of models.
pub(super) fn models(emulate: Emulate) -> Value {
    let owner = match emulate {
        Emulate::Ollama => "library",
        Emulate::Vllm => "vllm",
        Emulate::LlamaCpp => "llamacpp",
        Emulate::OpenAi | Emulate::Azure => "system",
        Emulate::Generic => "organization_owner",
    };
    let entry = |name: &str| json!({ "id": name, "object": "model", "created": 1, "owned_by": owner });
    let names: Vec<Value> = super::NAMES.iter().map(|name| entry(&format!("stub:{name}"))).collect();
    json!({ "object": "list", "data": names })
}
