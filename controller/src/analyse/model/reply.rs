//! Reads an answer leniently: servers leave out fields, invent others, and put the text in odd places.

use serde_json::{Value, json};

use super::ask::{AskRequest, Finish, Usage, estimate_tokens};
use super::error::AskError;

/// More tokens than any answer has; what says more is not believed.
const MOST_TOKENS: u64 = 2_000_000;

/// What stands in a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) usage: Usage,
    pub(super) model: Option<String>,
    pub(super) finish: Finish,
}

/// Reads a reply of the chat protocol. `sent` is the size of the request in bytes.
pub(super) fn read(value: &Value, sent: usize) -> Result<Reply, AskError> {
    let choice = value.pointer("/choices/0").ok_or(AskError::Malformed { what: "no choice" })?;
    let message = choice.get("message").unwrap_or(&Value::Null);
    let content = text_of(message.get("content"));
    let thought = text_of(message.get("reasoning_content").or_else(|| message.get("reasoning")));
    let usage = usage(value.get("usage"), sent, content.len() + thought.len());
    let refusal = text_of(message.get("refusal"));
    match choice.get("finish_reason").and_then(Value::as_str).unwrap_or_default() {
        "length" | "max_tokens" => Err(AskError::Truncated { usage }),
        "content_filter" => Err(AskError::ContentFilter { usage }),
        _ if !refusal.trim().is_empty() => Err(AskError::Refused { usage }),
        finish => {
            let text = if content.trim().is_empty() { thought } else { content };
            if text.trim().is_empty() {
                return Err(AskError::Empty { usage });
            }
            let model = value.get("model").and_then(Value::as_str).filter(|name| is_name(name));
            let finish = if finish == "stop" { Finish::Stop } else { Finish::Unknown };
            Ok(Reply { text, usage, model: model.map(str::to_owned), finish })
        }
    }
}

/// A name that may be stored and shown.
fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A text, or a list of parts with texts.
fn text_of(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => String::new(),
    }
}

/// What the server counted, where that is believable: a token has at least one byte. A server that says
/// nothing, or too little or too much, is counted here, so that the day's limit holds against it.
fn usage(value: Option<&Value>, sent: usize, received: usize) -> Usage {
    let count = |path: &str| value.and_then(|usage| usage.pointer(path)).and_then(Value::as_u64);
    let own = Usage {
        prompt: estimate_tokens(sent),
        completion: estimate_tokens(received),
        estimated: true,
        ..Usage::default()
    };
    let (Some(prompt), Some(completion)) = (count("/prompt_tokens"), count("/completion_tokens")) else {
        return own;
    };
    // Chat templates add tokens of their own.
    let most_prompt = (sent as u64).saturating_add(4_096);
    // No server packs more than 32 bytes into a token on average.
    let least_prompt = sent as u64 / 32;
    if prompt == 0
        || prompt < least_prompt
        || prompt > most_prompt
        || completion > MOST_TOKENS
        || (completion == 0 && received > 0)
    {
        return own;
    }
    Usage {
        prompt,
        completion,
        cached: count("/prompt_tokens_details/cached_tokens").unwrap_or(0).min(prompt),
        reasoning: count("/completion_tokens_details/reasoning_tokens").unwrap_or(0).min(completion),
        estimated: false,
    }
}

/// Tokens that a question is likely to take at most, for the allowance of the minute.
pub(super) fn reckon(request: &AskRequest, sent: usize) -> u64 {
    estimate_tokens(sent).saturating_add(u64::from(request.max_output_tokens))
}

/// Puts together what a server streams although it was not asked to.
pub(super) fn from_events(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    let (mut content, mut thought, mut refusal) = (String::new(), String::new(), String::new());
    let (mut finish, mut usage, mut model) = (Value::Null, Value::Null, Value::Null);
    let mut seen = false;
    for line in text.lines() {
        let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
        if data == "[DONE]" {
            break;
        }
        let event: Value = serde_json::from_str(data).ok()?;
        seen = true;
        let delta = event.pointer("/choices/0/delta").unwrap_or(&Value::Null);
        content.push_str(&text_of(delta.get("content")));
        thought.push_str(&text_of(delta.get("reasoning_content")));
        refusal.push_str(&text_of(delta.get("refusal")));
        let keep = |to: &mut Value, from: Option<&Value>| {
            if let Some(from) = from.filter(|from| !from.is_null()) {
                *to = from.clone();
            }
        };
        keep(&mut finish, event.pointer("/choices/0/finish_reason"));
        keep(&mut usage, event.get("usage"));
        keep(&mut model, event.get("model"));
    }
    seen.then(|| {
        json!({
            "model": model,
            "usage": usage,
            "choices": [{
                "finish_reason": finish,
                "message": { "content": content, "reasoning_content": thought, "refusal": refusal },
            }],
        })
    })
}
