//! Honest content, and the envelope around it by the server's habits.

use serde_json::{Value, json};

use super::http::{Body, Reply};
use super::sheet::Sheet;
use super::{Emulate, Seen, Shared};

/// An envelope under construction.
pub(super) struct Envelope<'a> {
    pub(super) emulate: Emulate,
    pub(super) seen: &'a Seen,
    pub(super) content: Value,
    pub(super) finish: Value,
    pub(super) cached: usize,
}

impl<'a> Envelope<'a> {
    pub(super) fn new(shared: &Shared, seen: &'a Seen, content: String) -> Self {
        Self { emulate: shared.emulate, seen, content: json!(content), finish: json!("stop"), cached: 0 }
    }

    pub(super) fn usage(&self) -> Value {
        let prompt = self.seen.prompt().len().div_ceil(4);
        let prompt = self.emulate.window().map_or(prompt, |window| prompt.min(window));
        let completion = self.content.as_str().map_or(0, str::len).div_ceil(4);
        json!({
            "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            "prompt_tokens_details": { "cached_tokens": self.cached },
            "completion_tokens_details": { "reasoning_tokens": 0 },
        })
    }

    pub(super) fn value(&self) -> Value {
        let mut value = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_800_000_000,
            "model": self.seen.body.get("model").cloned().unwrap_or(Value::Null),
            "choices": [{ "index": 0, "finish_reason": self.finish,
                "message": { "role": "assistant", "content": self.content, "refusal": null } }],
        });
        if self.emulate.counts() {
            value["usage"] = self.usage();
        }
        value
    }

    pub(super) fn reply(&self) -> Reply {
        let reply = Reply::json(200, &self.value());
        match self.emulate {
            Emulate::OpenAi | Emulate::Azure => reply
                .header("x-ratelimit-remaining-requests", "100")
                .header("x-ratelimit-remaining-tokens", "150000")
                .header("x-ratelimit-reset-requests", "1s")
                .header("x-ratelimit-reset-tokens", "6m0s"),
            _ => reply,
        }
    }
}

/// An honest model's answer to whatever it is asked, within the bound that the server keeps to.
pub(super) fn honest(shared: &Shared, seen: &Seen) -> Reply {
    bounded(shared, seen, honest_text(shared, seen))
}

/// `text`, cut at the bound that the server keeps to.
pub(super) fn bounded(shared: &Shared, seen: &Seen, text: String) -> Reply {
    let mut envelope = Envelope::new(shared, seen, text.clone());
    if let Some(limit) = shared.emulate.limit(&seen.body).filter(|limit| text.len() > limit * 4) {
        let cut: String = text.chars().take(limit * 4).collect();
        envelope.content = json!(cut);
        envelope.finish = json!("length");
    }
    envelope.reply()
}

/// What an honest model says.
pub(super) fn honest_text(shared: &Shared, seen: &Seen) -> String {
    let prompt = seen.prompt();
    let schema = seen.body.pointer("/response_format/json_schema/schema");
    if prompt.contains("\"colour\"") {
        let enforced = schema.is_some() && shared.emulate.enforces_schema();
        return json!({ "colour": if enforced { "violet" } else { "green" } }).to_string();
    }
    if prompt.contains("numbers from 1 to 80") {
        let numbers: Vec<String> = (1..=80).map(|n: u32| n.to_string()).collect();
        return numbers.join(", ");
    }
    if prompt.contains("code word") {
        let cut = shared.emulate.window().is_some_and(|window| prompt.len().div_ceil(4) > window);
        return if cut { "birch" } else { "heron" }.to_owned();
    }
    sound(&Sheet::read(&prompt), &prompt).to_string()
}

/// An answer that is right by every rule: it cites the first finding's rows and chooses its first offer.
pub(super) fn sound(sheet: &Sheet, prompt: &str) -> Value {
    let vietnamese = prompt.contains("in the language vi");
    let (title, summary) = if vietnamese {
        (
            "Ổ đĩa sắp đầy do một dịch vụ ghi quá nhiều",
            "Dịch vụ này ghi nhiều hơn dung lượng còn trống và là nguyên nhân của sự cố.",
        )
    } else {
        (
            "One unit causes the trouble",
            "The unit uses more than there is, and it is the cause of what was found.",
        )
    };
    let Some(first) = sheet.findings.first() else {
        // No evidence in the prompt: the answer says so in the same form.
        return json!({ "schema": "1", "findings": [], "verdict": "benign", "reads": [] });
    };
    let rows: Vec<_> = first.rows.iter().filter_map(|handle| sheet.row(handle)).collect();
    let evidence: Vec<Value> =
        rows.iter().map(|row| json!({ "row": row.handle, "says": row.says })).collect();
    let offer = sheet.offers.iter().find(|offer| offer.finding == first.handle);
    let metric = rows.first().map(|row| row.metric.clone()).unwrap_or_default();
    let actions: Vec<Value> = offer
        .iter()
        .map(|offer| {
            json!({ "offer": offer.handle, "why": summary,
                    "expect": { "metric": metric, "dir": "up", "within_s": 120 } })
        })
        .collect();
    json!({
        "schema": "1",
        "findings": [{
            "reasoning": summary, "evidence": evidence, "against": [], "category": first.category,
            "root": first.culprit.clone().unwrap_or_else(|| first.entity.clone()),
            "affected": [first.entity], "risk": "medium", "confidence": 88, "title": title,
            "summary": summary, "actions": actions,
        }],
        "verdict": "incident",
        "reads": [],
    })
}

/// The honest answer as events, although no stream was asked for.
pub(super) fn events(shared: &Shared, seen: &Seen) -> Reply {
    let text = honest_text(shared, seen);
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (one, two) = text.split_at(middle);
    let event = |delta: Value, finish: Value| {
        format!("data: {}\n\n", json!({ "choices": [{ "delta": delta, "finish_reason": finish }] }))
    };
    let mut body = event(json!({ "role": "assistant", "content": one }), Value::Null);
    body += ": a comment\n\n";
    body += &event(json!({ "content": two }), json!("stop"));
    body += "data: [DONE]\n\n";
    let pieces = body.as_bytes().chunks(64).map(<[u8]>::to_vec).collect();
    let mut reply = Reply::raw(200, "text/event-stream", Vec::new());
    reply.body = Body::Pieces { pieces, pause: std::time::Duration::ZERO };
    reply
}
