use sysop_common::query::{QUERY_NAMES, Query};

use super::*;
use crate::guard::template;

fn ask(policy: &str, query: Query) -> Answer {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("policy.toml");
    std::fs::write(&path, policy).unwrap();
    let request = QueryRequest { id: 7, query };
    answer(&path, &Roots::default(), &Options::default(), &request)
}

fn all() -> Vec<Query> {
    vec![
        Query::GetCpuUsage,
        Query::GetMemoryUsage,
        Query::GetDiskUsage,
        Query::GetSystemLoad,
        Query::GetTopProcesses { limit: 3 },
        Query::GetServiceStatus { unit: "nginx.service".parse().unwrap() },
        Query::GetFailedServices,
    ]
}

#[test]
fn a_reading_that_policy_does_not_allow_is_refused_with_the_line_to_add() {
    for query in all() {
        let name = query.name();
        let answer = ask("[queries]\nallow = []\n", query);
        let reason = answer.result.unwrap_err();
        assert!(answer.id == 7 && reason.contains(name) && reason.contains("[queries]"), "{reason}");
    }
    assert!(ask("[queries\n", Query::GetCpuUsage).result.unwrap_err().contains("policy"));
}

#[test]
fn each_allowed_reading_has_text_and_json_of_this_host() {
    assert_eq!(all().iter().map(Query::name).collect::<Vec<_>>(), QUERY_NAMES);
    for query in all() {
        let name = query.name();
        match ask(&template(&[]), query).result {
            Ok(reading) => {
                assert!(!reading.text.is_empty() && reading.text.len() <= MAX_ANSWER, "{name}");
                serde_json::from_str::<serde_json::Value>(&reading.json).unwrap();
            }
            // Where the tests run there may be no systemd, and hardly an nginx.
            Err(reason) => assert!(name.contains("service"), "{name}: {reason}"),
        }
    }
}

#[test]
fn cpu_and_memory_agree_with_the_kernel() {
    let json = |query| {
        let reading = ask(&template(&[]), query).result.unwrap();
        serde_json::from_str::<serde_json::Value>(&reading.json).unwrap()
    };
    let memory = json(Query::GetMemoryUsage);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total: i64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(memory["bytes"]["total"], total * 1024);
    let load = json(Query::GetSystemLoad);
    assert!(load["cores"].as_f64().is_some_and(|cores| cores >= 1.0) && load["load_1"].is_number(), "{load}");
    let cpu = json(Query::GetCpuUsage);
    let used = cpu["used_percent"].as_f64().unwrap();
    assert!((0.0..=100.0).contains(&used), "{cpu}");
    let modes: f64 = cpu["modes_percent"].as_object().unwrap().values().filter_map(|v| v.as_f64()).sum();
    assert!((99.0..101.0).contains(&modes), "{cpu}");
    assert!(json(Query::GetTopProcesses { limit: 200 })["processes"].as_array().unwrap().len() <= 50);
}

#[test]
fn an_answer_is_cut_to_its_cap_and_its_json_stays_whole() {
    let rows: Vec<_> = (0..5_000).map(|n| serde_json::json!({"row": n, "text": "ü"})).collect();
    let text = "line with an ümlaut\n".repeat(5_000);
    let reading = bounded((text, serde_json::json!({"rows": rows})));
    assert!(reading.text.len() <= MAX_ANSWER && reading.text.ends_with("\n…"));
    let json: serde_json::Value = serde_json::from_str(&reading.json).unwrap();
    assert!(reading.json.len() <= MAX_ANSWER && json["truncated"] == true);
}
