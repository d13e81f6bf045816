//! What a model is told of its rejected answer, for its one second try. Pure.

use super::sanitise::clean;
use super::verify::Reject;

/// Most reasons that are told.
const REASONS: usize = 8;
/// Most characters of the rejected answer that are given back.
const ANSWER: usize = 6_000;

/// The words: the exact reasons, and what to do.
#[must_use]
pub fn words(rejects: &[Reject]) -> String {
    let mut out = String::from("Your answer was rejected:\n");
    for reject in rejects.iter().take(REASONS) {
        out.push_str("- ");
        out.push_str(&clean(&reject.text, 200));
        out.push('\n');
    }
    out.push_str(
        "Send the whole JSON answer once more without these faults, with handles of the request alone.",
    );
    out
}

/// The rejected answer as it is given back: what is longer than any sound one is cut.
#[must_use]
pub fn given_back(answer: &str) -> String {
    answer.chars().take(ANSWER).collect()
}
