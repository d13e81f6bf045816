//! Answers the typed readings from the collector's own last two looks. Nothing is run, nothing but
//! what the sensors read is shown, and only what the owner's policy lists is answered.

use std::sync::Arc;

use serde_json::{Value, json};
use sysop_common::query::{Answer, MAX_ANSWER, Query, Reading};
use sysop_common::sample::{Active, Schema, Tick, Unit};
use sysop_common::wire::QueryRequest;

use crate::guard::Policy;
use crate::sample::Observation;
use crate::sample::show::Pair;

/// Most processes in an answer.
const MAX_PROCESSES: usize = 50;

/// Answers `request` from the last two looks, if `policy` allows the reading.
#[must_use]
pub fn answer(
    request: &QueryRequest,
    policy: &Policy,
    looks: Option<(&Observation, &Observation)>,
) -> Answer {
    let name = request.query.name();
    let result = if !policy.allows_query(name) {
        Err(format!("{name} is not among [queries] allow of this host's policy file"))
    } else if let Some((before, after)) = looks {
        read(&request.query, before, after)
    } else {
        Err("the agent has just started and has not looked twice yet; ask again in a few seconds".to_owned())
    };
    Answer { id: request.id, result }
}

fn read(query: &Query, before: &Observation, after: &Observation) -> Result<Reading, String> {
    let families: &[&str] = match query {
        Query::GetCpuUsage => &["cpu."],
        Query::GetMemoryUsage => &["memory.", "swap."],
        Query::GetDiskUsage => &["fs."],
        Query::GetSystemLoad => &["load.", "procs.", "psi."],
        Query::GetTopProcesses { limit } => return Ok(processes(before, after, usize::from(*limit))),
        Query::GetServiceStatus { unit } => {
            let found = after.tick.units.iter().find(|seen| seen.name == unit.as_str());
            let unit = found.ok_or_else(|| format!("{unit} is not loaded here, or was never active"))?;
            return Ok(units(vec![unit.clone()]));
        }
        Query::GetFailedServices => {
            if after.tick.units.is_empty() {
                return Err("systemd's services are not observed on this host".to_owned());
            }
            let failed = after.tick.units.iter().filter(|unit| unit.active == Active::Failed);
            return Ok(units(failed.cloned().collect()));
        }
    };
    Ok(metrics(before, after, families))
}

fn metrics(before: &Observation, after: &Observation, families: &[&str]) -> Reading {
    let pair = Pair::new(only(before, families), only(after, families), Vec::new());
    let mut text = String::new();
    pair.put_metrics(&mut text);
    reading(text, pair.json()["metrics"].take())
}

fn processes(before: &Observation, after: &Observation, limit: usize) -> Reading {
    let mut now = only(after, &[]);
    now.tick.processes = after.tick.processes.clone();
    now.tick.processes.truncate(limit.clamp(1, MAX_PROCESSES));
    let mut earlier = only(before, &[]);
    earlier.tick.processes = before.tick.processes.clone();
    let pair = Pair::new(earlier, now, Vec::new());
    let mut text = String::new();
    pair.put_processes(&mut text);
    reading(text, pair.json()["processes"].take())
}

fn units(units: Vec<Unit>) -> Reading {
    if units.is_empty() {
        return Reading { text: "No service has failed.\n".to_owned(), json: "[]".to_owned() };
    }
    let json = json!(units);
    let empty = || Observation {
        schema: Arc::default(),
        schema_changed: false,
        tick: Tick {
            seq: Default::default(),
            at: Default::default(),
            values: vec![],
            processes: vec![],
            units: vec![],
        },
    };
    let mut now = empty();
    now.tick.units = units;
    let mut text = String::new();
    Pair::new(empty(), now, Vec::new()).put_units(&mut text);
    reading(text, json)
}

/// The columns of some families, without processes and units.
fn only(look: &Observation, families: &[&str]) -> Observation {
    let wanted = |metric| {
        sysop_common::metric::by_id(metric).is_some_and(|m| families.iter().any(|f| m.name.starts_with(f)))
    };
    let columns =
        look.schema.columns.iter().zip(&look.tick.values).filter(|(column, _)| wanted(column.metric));
    let (columns, values) = columns.map(|(column, value)| (column.clone(), *value)).unzip();
    Observation {
        schema: Arc::new(Schema { columns }),
        schema_changed: false,
        tick: Tick { values, processes: Vec::new(), units: Vec::new(), ..look.tick.clone() },
    }
}

/// Within the cap: whole lines of text, whole entries of the list.
fn reading(mut text: String, mut json: Value) -> Reading {
    if text.len() > MAX_ANSWER {
        let end = text.floor_char_boundary(MAX_ANSWER - 64);
        text.truncate(text[..end].rfind('\n').map_or(end, |at| at + 1));
        text.push_str("… cut: more than an answer holds\n");
    }
    let mut encoded = json.to_string();
    while encoded.len() > MAX_ANSWER {
        let Some(list) = json.as_array_mut().filter(|list| !list.is_empty()) else { break };
        list.truncate(list.len() * 3 / 4);
        encoded = json.to_string();
    }
    Reading { text, json: encoded }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sysop_common::ids::Seq;
    use sysop_common::metric;
    use sysop_common::query::QUERY_NAMES;
    use sysop_common::sample::{Column, Process};
    use sysop_common::time::UnixMs;

    use super::*;

    fn look(at: i64, busy: i64, units: usize) -> Observation {
        let columns = [metric::CPU_USER, metric::MEMORY_FREE].map(|id| Column::new(id, "").unwrap()).to_vec();
        let unit = |n| Unit {
            name: format!("u{n:03}.service"),
            active: if n == 3 { Active::Failed } else { Active::Active },
            ..Unit::default()
        };
        Observation {
            schema: Arc::new(Schema { columns }),
            schema_changed: false,
            tick: Tick {
                seq: Seq(1),
                at: UnixMs(at),
                values: vec![busy, 1 << 30],
                processes: vec![Process {
                    pid: 7,
                    comm: "burn".into(),
                    cpu_ms: busy as u64,
                    ..Process::default()
                }],
                units: (0..units).map(unit).collect(),
            },
        }
    }

    fn ask(query: Query) -> Result<Reading, String> {
        let policy =
            Policy::parse(Path::new("policy.toml"), &format!("[queries]\nallow = {QUERY_NAMES:?}\n"))
                .unwrap();
        let (before, after) = (look(0, 0, 400), look(1000, 500, 400));
        answer(&QueryRequest { id: 5, query }, &policy, Some((&before, &after))).result
    }

    #[test]
    fn each_reading_shows_its_subject_only() {
        let cpu = ask(Query::GetCpuUsage).unwrap();
        assert!(cpu.text.contains("50.0 %") && !cpu.text.contains("GiB"), "{}", cpu.text);
        assert!(ask(Query::GetMemoryUsage).unwrap().text.contains("1.0 GiB"));
        assert!(ask(Query::GetTopProcesses { limit: 0 }).unwrap().text.contains("burn"));
        let failed = ask(Query::GetFailedServices).unwrap();
        assert!(failed.text.contains("u003.service") && !failed.text.contains("u004.service"));
        let unit = |name: &str| ask(Query::GetServiceStatus { unit: name.parse().unwrap() });
        assert!(unit("u005.service").unwrap().json.contains("u005.service"));
        assert!(unit("absent.service").is_err());
    }

    #[test]
    fn what_the_owner_did_not_allow_is_not_answered() {
        let policy = Policy::none(Path::new("policy.toml"));
        let look = look(0, 0, 1);
        let got = answer(&QueryRequest { id: 1, query: Query::GetCpuUsage }, &policy, Some((&look, &look)));
        assert!(got.result.unwrap_err().contains("[queries]"));
    }

    #[test]
    fn an_answer_stays_within_its_cap() {
        let long = reading("line of text\n".repeat(5_000), json!(vec!["x".repeat(100); 1_000]));
        assert!(long.text.len() <= MAX_ANSWER && long.json.len() <= MAX_ANSWER);
        assert!(serde_json::from_str::<Vec<String>>(&long.json).unwrap().len() > 50);
    }
}
