//! Answers the typed readings that the owner's policy allows. Reads, and changes nothing.

mod read;
#[cfg(test)]
mod tests;

use std::path::Path;

use sysop_common::query::{Answer, MAX_ANSWER, Reading};
use sysop_common::wire::QueryRequest;

use crate::guard::Policy;
use crate::sample::{Options, Roots};

/// Answers one reading. Looks at the host twice, a second apart where rates are asked for, so it
/// belongs on a thread that may block.
#[must_use]
pub fn answer(policy: &Path, roots: &Roots, options: &Options, request: &QueryRequest) -> Answer {
    let name = request.query.name();
    // The policy first: nothing is read for a question that may not be asked.
    let result = match Policy::load(policy) {
        Ok(policy) if policy.allows_query(name) => read::read(&request.query, roots, options).map(bounded),
        Ok(_) => Err(format!(
            "the host's policy does not allow {name}; its owner can add \"{name}\" to allow under [queries] in {}",
            policy.display()
        )),
        Err(e) => Err(format!("the host's policy cannot be used: {e}")),
    };
    Answer { id: request.id, result }
}

/// Cuts a reading to [`MAX_ANSWER`]: text at a line, JSON at the last rows of its longest list.
fn bounded((mut text, mut json): (String, serde_json::Value)) -> Reading {
    while text.len() > MAX_ANSWER {
        let mut end = MAX_ANSWER - 4;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(text[..end].rfind('\n').unwrap_or(end));
        text.push_str("\n…");
    }
    let mut encoded = json.to_string();
    while encoded.len() > MAX_ANSWER {
        let lists = json.as_object_mut().into_iter().flat_map(|object| object.values_mut());
        let Some(longest) = lists.filter_map(|value| value.as_array_mut()).max_by_key(|list| list.len())
        else {
            encoded = "{}".to_owned();
            break;
        };
        longest.truncate(longest.len() / 2);
        json["truncated"] = true.into();
        encoded = json.to_string();
    }
    Reading { text, json: encoded }
}
