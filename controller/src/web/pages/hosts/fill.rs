//! Fills the list of hosts.

use std::cmp::Ordering;

use super::{HostRow, HostsView};
use crate::store::StoreError;
use crate::web::pages::source::{Source, urgency};
use crate::web::widgets::list::Paging;
use crate::web::widgets::query::Query;
use crate::web::widgets::{State, format};

/// Hosts on one part of the list.
const PART: usize = 50;

/// The view for this address.
///
/// # Errors
/// When the store cannot be read.
pub async fn fill(source: Source<'_>, query: Query) -> Result<HostsView, StoreError> {
    let hosts = source.hosts().await?;
    let (_, _, troubles) = source.troubles().await?;
    let total = hosts.len() as u64;
    let wanted = query.get("q").unwrap_or_default().to_lowercase();
    let mut rows: Vec<HostRow> = hosts
        .iter()
        .filter(|host| {
            let text = |text: &str| text.to_lowercase().contains(&wanted);
            wanted.is_empty()
                || text(&host.name)
                || host.labels.values().any(|label| text(&label.value))
                || host.inventory.addresses.iter().any(|address| text(address))
        })
        .map(|host| source.row(host, troubles.get(&host.id)))
        .filter(|row| fits(row, &query))
        .collect();
    rows.sort_by(|a, b| order(a, b, query.get("sort").unwrap_or("-attention")));
    let matching = rows.len();
    let from =
        query.get("after").and_then(|id| rows.iter().position(|row| row.id == id)).map_or(0, |at| at + 1);
    let mut part: Vec<HostRow> = rows.drain(from.min(matching)..).take(PART).collect();
    for row in &mut part {
        if let Ok(id) = row.id.parse() {
            row.cpu_line = source.cpu_line(id);
        }
    }
    let until = from + part.len();
    let older = (until < matching)
        .then(|| part.last().map(|row| query.set("after", &row.id).href("/hosts")))
        .flatten();
    let newer = (from > 0).then(|| query.without_key("after").href("/hosts"));
    let shown = format!("{} to {} of {}", from.min(matching) + 1, until, format::count(matching as u64));
    Ok(HostsView {
        rows: part,
        matching: matching as u64,
        total,
        query,
        paging: Paging { shown, newer, older },
    })
}

/// Whether a row fits the labels and the state of the address. Values of one label are alternatives,
/// different labels all must fit.
fn fits(row: &HostRow, query: &Query) -> bool {
    let wanted: Vec<(&str, &str)> = query
        .0
        .iter()
        .filter(|(key, _)| key == "label")
        .filter_map(|(_, value)| value.split_once('='))
        .collect();
    let labels = wanted.iter().all(|(name, _)| {
        let mut values = wanted.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
        values.any(|value| row.labels.iter().any(|(key, have)| key == name && have == value))
    });
    let state = match query.get("state") {
        Some("attention") => !matches!(row.state, State::Ok),
        Some("healthy") => row.state == State::Ok,
        Some("offline") => row.state == State::Off,
        _ => true,
    };
    labels && state
}

fn order(a: &HostRow, b: &HostRow, sort: &str) -> Ordering {
    let (key, down) = sort.strip_prefix('-').map_or((sort, false), |key| (key, true));
    let number = |x: Option<f64>, y: Option<f64>| match (x, y) {
        (Some(x), Some(y)) => x.total_cmp(&y),
        // What is not known comes last, whichever way the order goes.
        (None, None) => Ordering::Equal,
        (None, _) => {
            if down {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (_, None) => {
            if down {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
    };
    let disk = |row: &HostRow| row.disk.as_ref().map(|(_, used)| *used);
    let found = match key {
        "name" => a.name.cmp(&b.name),
        "cpu" => number(a.cpu, b.cpu),
        "memory" => number(a.memory, b.memory),
        "disk" => number(disk(a), disk(b)),
        "net" => number(a.network.map(|n| n.0 + n.1), b.network.map(|n| n.0 + n.1)),
        _ => urgency(a.state).cmp(&urgency(b.state)),
    };
    let found = if down { found.reverse() } else { found };
    found.then_with(|| a.name.cmp(&b.name)).then_with(|| a.id.cmp(&b.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, state: State, cpu: Option<f64>) -> HostRow {
        let labels = vec![("site".to_owned(), name[..1].to_owned())];
        HostRow { id: name.into(), name: name.into(), state, cpu, labels, ..HostRow::default() }
    }

    #[test]
    fn those_that_need_attention_come_first_and_unknown_values_last() {
        let mut rows =
            [row("b", State::Ok, Some(0.9)), row("a", State::Ok, None), row("c", State::Crit, Some(0.1))];
        let names = |rows: &[HostRow]| rows.iter().map(|row| row.name.clone()).collect::<String>();
        for (sort, names_then) in [("-attention", "cab"), ("-cpu", "bca"), ("cpu", "cba"), ("name", "abc")] {
            rows.sort_by(|a, b| order(a, b, sort));
            assert_eq!(names(&rows), names_then, "{sort}");
        }
    }

    #[test]
    fn values_of_one_label_are_alternatives() {
        let query = Query::default().with("label", "site=a").with("label", "site=b");
        assert!(fits(&row("a1", State::Ok, None), &query) && fits(&row("b1", State::Ok, None), &query));
        assert!(!fits(&row("c1", State::Ok, None), &query));
        assert!(!fits(&row("a1", State::Ok, None), &query.with("label", "role=web")));
        assert!(!fits(&row("a1", State::Ok, None), &Query::default().set("state", "attention")));
    }
}
