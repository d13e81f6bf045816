//! Actions of an answer: only offers, well enough founded, not against each other.

use std::collections::BTreeSet;

use sysop_common::action::Action;

use super::{Reject, Weight};
use crate::analyse::model::evidence::{Choice, Sheet};
use crate::analyse::model::schema::{Chosen, Reply, Said, Verdict};

/// Longest time until an effect is seen, in seconds.
const LONGEST_S: i64 = 86_400;

pub(super) fn check(reply: &Reply, sheet: &Sheet) -> Vec<Reject> {
    let mut found = Vec::new();
    let mut chosen: Vec<&Choice> = Vec::new();
    for said in &reply.findings {
        for action in &said.actions {
            let Some(choice) = sheet.offers.iter().find(|choice| choice.handle == action.offer) else {
                found.push(Reject::ghost("offer", &action.offer));
                continue;
            };
            found.extend(grounds(said, choice, sheet));
            found.extend(expected(action, choice, sheet));
            chosen.push(choice);
        }
    }
    for (at, one) in chosen.iter().enumerate() {
        for other in &chosen[at + 1..] {
            if at_odds(one.action(), other.action()) {
                let text = format!("offers {} and {} work against each other", one.handle, other.handle);
                found.push(Reject::new(Weight::Action, "conflict", text));
            }
        }
    }
    if reply.verdict == Verdict::Benign && !chosen.is_empty() {
        found.push(Reject::new(Weight::Action, "conflict", "benign needs no action"));
    }
    found
}

/// Two rows, or one hard one, and one of them of the offer's own finding.
fn grounds(said: &Said, choice: &Choice, sheet: &Sheet) -> Vec<Reject> {
    let cited: BTreeSet<&str> = said.evidence.iter().map(|cite| cite.row.as_str()).collect();
    let rows = || cited.iter().filter_map(|row| sheet.row(row));
    let mut found = Vec::new();
    if rows().count() < 2 && !rows().any(|row| row.hard) {
        let text = format!("offer {} needs two rows, or one that is a hard fact", choice.handle);
        found.push(Reject::new(Weight::Action, "grounds", text));
    }
    if !choice.finding.is_empty() && !rows().any(|row| row.finding == choice.finding) {
        let text = format!("offer {} is for {}, of which no row is cited", choice.handle, choice.finding);
        found.push(Reject::new(Weight::Action, "grounds", text));
    }
    if said.root.is_none() {
        let text = format!("offer {} is chosen without a root", choice.handle);
        found.push(Reject::new(Weight::Action, "root", text));
    }
    found
}

/// The metric belongs to the offer's finding.
fn expected(action: &Chosen, choice: &Choice, sheet: &Sheet) -> Option<Reject> {
    let related = |row: &&crate::analyse::model::evidence::Row| {
        row.metric == action.expect.metric && (row.finding == choice.finding || choice.finding.is_empty())
    };
    let fits =
        sheet.rows.iter().any(|row| related(&row)) && (1..=LONGEST_S).contains(&action.expect.within_s);
    (!fits).then(|| {
        let text = format!("expect of {} names no metric of its finding, or no time", choice.handle);
        Reject::new(Weight::Action, "expect", text)
    })
}

/// Whether one takes back, or stands in the way of, what the other does.
pub(super) fn at_odds(one: &Action, other: &Action) -> bool {
    let same_unit = one.unit().is_some() && one.unit() == other.unit();
    same_unit && one.name() != other.name()
        || matches!((one, other), (Action::KillProcess { process: a }, Action::KillProcess { process: b }) if a == b)
}
