use sysop_common::ids::Seq;
use sysop_common::metric;
use sysop_common::sample::{self, Active, Column, Unit};
use sysop_common::time::SECOND_MS;

use super::*;
use crate::analyse::model::testing;
use crate::decide::fixture::{Fixture, NOW, host_id};
use crate::store::incidents;
use crate::store::samples::{Batch, Incoming};

/// A world with an open incident, and a minute of samples in which a unit fails.
async fn world() -> (Fixture, i64) {
    let world = Fixture::new(1).await;
    let column = |metric| {
        let known = metric::by_id(metric).unwrap();
        Column { metric, label: String::new(), unit: known.unit, kind: known.kind, scale: known.scale }
    };
    let schema = NamedSchema::new(Schema { columns: vec![column(metric::MEMORY_TOTAL)] });
    for at in 0..20_i64 {
        let failed = at > 5;
        let unit = Unit {
            name: "nginx.service".into(),
            active: if failed { Active::Failed } else { Active::Active },
            sub: if failed { "failed" } else { "running" }.into(),
            result: if failed { "exit-code" } else { "success" }.into(),
            ..Unit::default()
        };
        let time = NOW.plus((at - 19) * 10 * SECOND_MS);
        let tick = sample::Tick {
            seq: Seq(u64::try_from(at).unwrap() + 1),
            at: time,
            values: vec![8 << 30],
            processes: Vec::new(),
            units: vec![unit],
        };
        let stored = Arc::new(Stored {
            tick: Arc::new(tick),
            schema: schema.clone(),
            epoch: Epoch(7),
            boot: Boot(9),
            at: time,
            received_at: time,
        });
        let batch = Batch { ticks: vec![Incoming { host: host_id(1), stored }], gaps: Vec::new() };
        world.ctx.samples.append(&batch, NOW).await.unwrap();
    }
    let mut tx = world.ctx.db.begin().await.unwrap();
    let new = Incident { host: Some(host_id(1)), ..testing::incident(&testing::Words::default()) };
    let id = incidents::insert(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    (world, id)
}

#[tokio::test]
async fn a_recording_gives_the_same_findings_offline_byte_for_byte() {
    let (world, id) = world().await;
    let (db, samples) = (&world.ctx.db, &world.ctx.samples);
    let made = make(db, samples, id, Language::English, NOW).await.unwrap();
    assert!(made.found.contains("unit_failed") && made.found.contains("nginx.service"), "{}", made.found);
    let file = made.write();
    let read = Recording::read(&file).unwrap();
    for _ in 0..3 {
        assert_eq!(read.replay().unwrap(), made.found);
    }
    assert_eq!(read.write(), file, "the file says all that it was made of");
    let gathered = read.gathered().unwrap();
    assert_eq!((gathered.host.as_str(), gathered.units.len(), gathered.incident.id), ("web-1", 1, id));
    let text = String::from_utf8(file).unwrap();
    for part in ["\"policy\"", "\"decisions\"", "\"analyses\"", "\"grants\"", "\"automation\": true"] {
        assert!(text.contains(part), "{part}");
    }
    let other = make(db, samples, id, Language::Vietnamese, NOW).await.unwrap();
    assert_ne!(other.found, made.found, "the language is part of it");
    assert!(make(db, samples, 999, Language::English, NOW).await.is_err());
}

#[tokio::test]
async fn what_is_no_recording_or_is_damaged_is_refused_with_the_remedy() {
    let (world, id) = world().await;
    let made = make(&world.ctx.db, &world.ctx.samples, id, Language::English, NOW).await.unwrap();
    let text = String::from_utf8(made.write()).unwrap();
    for (bad, says) in [
        ("{}".to_owned(), "not a recording"),
        ("[".repeat(10_000), "not a recording"),
        (text.replace("sysop-recording", "other"), "not a recording"),
        (text.replace("\"version\": 1", "\"version\": 9"), "version 9"),
        (text.replace("\"found\"", "\"fond\""), "not a recording"),
    ] {
        let error = Recording::read(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let mut torn = made.clone();
    torn.look.ticks[3].frame = "AAAA".into();
    assert!(matches!(torn.replay(), Err(RecordingError::Tick(3))));
    torn.look.ticks[3].schema = 99;
    assert!(torn.replay().is_err());
}
