//! The scenarios: what the server does, by name.

use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Body, Cut, Reply};
use super::replies::{Envelope, events, honest, honest_text, sound};
use super::sheet::Sheet;
use super::{Emulate, KEY, Seen, Shared, hostile};

/// All of them.
pub const NAMES: &[&str] = &[
    "normal",
    "cached",
    "slow-head",
    "slow-drip",
    "429-after-2",
    "429-after-3600",
    "429-date",
    "429-bare",
    "429-quota",
    "500",
    "502-html",
    "503-loading",
    "200-error",
    "200-html",
    "reset",
    "eof",
    "no-head",
    "bad-chunk",
    "bad-gzip",
    "401",
    "401-int",
    "403",
    "404",
    "400",
    "400-text",
    "400-param",
    "400-context",
    "redirect",
    "malformed",
    "fenced",
    "prose",
    "bom",
    "duplicate",
    "nan",
    "thoughts",
    "truncated",
    "whitespace",
    "refusal",
    "filter",
    "azure-filter",
    "extra",
    "missing",
    "wrong-type",
    "unknown-enum",
    "risk-none",
    "300-findings",
    "ghost",
    "ghost-offer",
    "tenant",
    "contradict",
    "conflict",
    "obey",
    "obey-forged",
    "obey-reads",
    "always-max",
    "flip-flop",
    "replay",
    "swap-handles",
    "wrong-root",
    "reasoning-field",
    "null-content",
    "empty-finish",
    "bare",
    "parts",
    "events",
    "mad-usage",
    "ignores-schema",
    "ignores-limit",
    "cuts-prompt",
    "wrong-language",
    "mixed-nfd",
    "flood",
    "deep",
    "deep-content",
    "endless",
    "flap",
];

/// The scenario of a request: the next of the script, else by the model's name; with Azure the deployment.
pub(super) fn name_of(shared: &Shared, seen: &Seen) -> String {
    if seen.method == "POST"
        && let Some(name) = shared.state().script.pop_front()
    {
        return name;
    }
    let deployment = seen.path.split('/').nth(3).filter(|_| shared.emulate == Emulate::Azure);
    let decoded = deployment.map(|name| name.replace("%3A", ":").replace("%40", "@"));
    let model = decoded.or_else(|| seen.body.get("model").and_then(Value::as_str).map(str::to_owned));
    model
        .and_then(|model| model.strip_prefix("stub:").map(str::to_owned))
        .unwrap_or_else(|| "normal".to_owned())
}

/// Plays `name`; `count` is the number of this request under it, from 1. With `@n`, faults end after n.
pub(super) fn play(shared: &Shared, seen: &Seen, name: &str, count: usize) -> Reply {
    let (name, times) = match name.split_once('@') {
        Some((name, times)) => (name, times.parse().unwrap_or(usize::MAX)),
        None => (name, usize::MAX),
    };
    if count > times {
        return honest(shared, seen);
    }
    fault(shared, seen, name, count)
        .or_else(|| answer(shared, seen, name))
        .or_else(|| {
            hostile::play(shared, seen, name, count).map(|text| Envelope::new(shared, seen, text).reply())
        })
        .unwrap_or_else(|| panic!("there is no scenario {name}"))
}

/// Faults of servers and sockets.
fn fault(shared: &Shared, seen: &Seen, name: &str, count: usize) -> Option<Reply> {
    let error =
        |status, code: &str, text: &str| Reply::json(status, &shared.emulate.error(status, code, text));
    let limited = || error(429, "rate_limit_exceeded", "Rate limit reached");
    let whole = || Envelope::new(shared, seen, honest_text(shared, seen)).value().to_string().into_bytes();
    let cut = |how| {
        let body = whole();
        let mut reply = Reply::raw(200, "application/json", Vec::new());
        let part = body[..body.len() / 2].to_vec();
        reply.body = Body::Cut { part, announced: body.len(), how };
        reply
    };
    let with = |mut reply: Reply, body| {
        reply.body = body;
        reply
    };
    let plain = || Reply::raw(200, "application/json", Vec::new());
    Some(match name {
        "slow-head" => {
            let mut reply = honest(shared, seen);
            reply.pause = shared.seconds(40.0);
            reply
        }
        "slow-drip" => {
            let pieces = whole().chunks(1).map(<[u8]>::to_vec).collect();
            with(plain(), Body::Pieces { pieces, pause: shared.seconds(1.0) })
        }
        "429-after-2" => limited().header("retry-after", "2"),
        "429-after-3600" => limited().header("retry-after", "3600"),
        "429-date" => limited().header("retry-after", "Tue, 01 Jan 2030 00:00:03 GMT"),
        "429-bare" => limited(),
        "429-quota" => {
            error(429, "insufficient_quota", "You exceeded your current quota, please check your plan")
        }
        "500" => error(500, "server_error", "The server had an error"),
        "502-html" => Reply::raw(502, "text/html", b"<html><h1>Bad Gateway</h1></html>".to_vec()),
        "503-loading" => error(503, "unavailable_error", "Loading model").header("retry-after", "1"),
        "200-error" => Reply::json(200, &json!({ "error": { "message": "upstream failed", "code": 502 } })),
        "200-html" => Reply::raw(200, "text/html", b"<html>Sign in to the network</html>".to_vec()),
        "reset" => cut(Cut::Reset),
        "eof" => cut(Cut::Close),
        "no-head" => with(plain(), Body::NoHead),
        "bad-chunk" => with(plain(), Body::BadChunks(b"zz\r\n{\"choices\"\r\n".to_vec())),
        "bad-gzip" => honest(shared, seen).header("content-encoding", "gzip"),
        // Servers repeat the key that they turn away; nobody should see it again.
        "401" => error(401, "invalid_api_key", &format!("Incorrect API key provided: {KEY}.")),
        "401-int" => Reply::json(401, &json!({ "error": { "message": "Unauthorized", "code": 401 } })),
        "403" => error(403, "forbidden", "Country, region, or territory not supported"),
        "404" => error(404, "model_not_found", "The model does not exist"),
        "400" => error(400, "invalid_request_error", "This request cannot be understood"),
        "400-text" => Reply::raw(400, "text/plain", b"bad request, go away".to_vec()),
        "400-param" if seen.body.get("response_format").is_some() => {
            error(400, "invalid_request_error", "Unknown parameter: 'response_format'")
        }
        "400-param" => honest(shared, seen),
        "400-context" if shared.emulate == Emulate::LlamaCpp => {
            error(400, "exceed_context_size_error", "the request exceeds the available context size")
        }
        "400-context" => error(
            400,
            "context_length_exceeded",
            "This model's maximum context length is 2048 tokens. Please reduce max_tokens or the messages.",
        ),
        "redirect" => {
            Reply::raw(307, "text/plain", Vec::new()).header("location", "http://127.0.0.1:9/steal")
        }
        "flood" => {
            with(plain(), Body::Endless { piece: vec![b' '; 65_536], pause: Duration::ZERO, most: 800 })
        }
        "deep" => Reply::raw(200, "application/json", b"[".repeat(10_000)),
        "endless" => {
            let piece = b"data: {\"choices\":[{\"delta\":{\"content\":\" \"}}]}\n\n".to_vec();
            let kind = Reply::raw(200, "text/event-stream", Vec::new());
            with(kind, Body::Endless { piece, pause: shared.seconds(0.2), most: 100_000 })
        }
        "flap" if count % 2 == 1 => error(500, "server_error", "The server had an error"),
        "flap" => honest(shared, seen),
        _ => return None,
    })
}

/// Answers whose envelope or form is odd.
fn answer(shared: &Shared, seen: &Seen, name: &str) -> Option<Reply> {
    let good = honest_text(shared, seen);
    let envelope = |text: String| Envelope::new(shared, seen, text);
    let say = |text: String| envelope(text).reply();
    let edit = |edit: &dyn Fn(&mut Value)| {
        let mut value = envelope(good.clone()).value();
        edit(&mut value);
        Reply::json(200, &value)
    };
    let finish = |text: &str, finish: &str| {
        let mut envelope = envelope(text.to_owned());
        envelope.finish = json!(finish);
        envelope.reply()
    };
    Some(match name {
        "normal" => honest(shared, seen),
        "cached" => {
            let mut envelope = envelope(good);
            envelope.cached = seen.prompt().len() / 8;
            envelope.reply()
        }
        "malformed" => say(good.replacen(':', ";", 1)),
        "fenced" => say(format!("```json\n{good}\n```")),
        "prose" => say(format!("Sure! Here is {{my}} analysis:\n\n{good}\n\nLet me know if it helps.")),
        "bom" => say(format!("\u{feff}{good}")),
        "duplicate" => say(good.replacen("{\"", "{\"schema\":\"0\",\"", 1)),
        "nan" => say(good.replace("\"confidence\":88", "\"confidence\":NaN")),
        "thoughts" => say(format!("<think>Maybe {{\"a\":1}}? No.</think>{good}")),
        "truncated" => finish(&good.chars().take(good.len() / 2).collect::<String>(), "length"),
        "whitespace" => finish(&" ".repeat(4_000), "length"),
        "refusal" => edit(&|value| {
            value["choices"][0]["message"] =
                json!({ "content": null, "refusal": "I cannot help with that." });
        }),
        "filter" => finish("", "content_filter"),
        "azure-filter" => Reply::json(
            400,
            &json!({ "error": { "code": "content_filter", "status": 400, "param": "prompt",
                "message": "The response was filtered", "innererror": { "code": "ResponsibleAIPolicyViolation" } } }),
        ),
        "reasoning-field" => edit(&|value| {
            value["choices"][0]["message"] = json!({ "content": null, "reasoning_content": good });
        }),
        "null-content" => edit(&|value| value["choices"][0]["message"]["content"] = Value::Null),
        "empty-finish" => edit(&|value| value["choices"][0]["finish_reason"] = json!("")),
        "bare" => Reply::json(200, &json!({ "choices": [{ "message": { "content": good } }] })),
        "parts" => edit(&|value| {
            value["choices"][0]["message"]["content"] = json!([{ "type": "text", "text": good }]);
        }),
        "events" => events(shared, seen),
        "mad-usage" => edit(&|value| {
            value["usage"] = json!({ "prompt_tokens": u64::MAX, "completion_tokens": 0 });
        }),
        // Whatever form is asked for, a text comes.
        "ignores-schema" => {
            let green = good.replace("violet", "green");
            say(format!("Of course. {green}"))
        }
        // Whatever bound is set, all of it comes.
        "ignores-limit" => say(good),
        "cuts-prompt" => {
            let mut value = envelope(good.replace("heron", "birch")).value();
            let counted = seen.prompt().len().div_ceil(4).min(2_048);
            value["usage"] = json!({ "prompt_tokens": counted, "completion_tokens": 20 });
            Reply::json(200, &value)
        }
        "deep-content" => say(format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000))),
        "wrong-language" => {
            // The other one than was asked for.
            let prompt = seen.prompt();
            let other = if prompt.contains("in the language vi") { "" } else { "in the language vi" };
            say(sound(&Sheet::read(&prompt), other).to_string())
        }
        "mixed-nfd" => {
            let text = sound(&Sheet::read(&seen.prompt()), "in the language vi").to_string();
            say(text.replace('ạ', "a\u{323}").replace('à', "a\u{300}"))
        }
        _ => return None,
    })
}
