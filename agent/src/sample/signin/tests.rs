use std::io::Write;

use super::record::bytes;
use super::*;
use sysop_common::sample::NOT_OBSERVED;

const NOW: u32 = 1_800_000_000;
const ATTACKER: &str = "203.0.113.9";

fn look(sensor: &mut Signins) -> Vec<String> {
    let mut out = Output::default();
    out.begin();
    sensor.read(&mut Cycle::default(), &mut out).unwrap();
    out.commit();
    let told = out.columns().iter().zip(out.values()).map(|(column, value)| {
        let value = if *value == NOT_OBSERVED { "-".to_owned() } else { value.to_string() };
        format!("{} {} {value}", metric::by_id(column.metric).unwrap().name, column.label)
    });
    told.collect()
}

fn append(root: &Path, name: &str, records: &[Vec<u8>]) {
    std::fs::create_dir_all(root.join("var/log")).unwrap();
    let path = root.join("var/log").join(name);
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    file.write_all(&records.concat()).unwrap();
}

fn failures(source: &str, count: usize, at: u32) -> Vec<Vec<u8>> {
    vec![bytes(6, at, source.parse().unwrap()); count]
}

fn sensor(root: &Path) -> Signins {
    Signins { clock: || NOW.into(), ..Signins::new(root) }
}

#[test]
fn failures_are_counted_by_source_through_rotation() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    assert_eq!(look(&mut sensor(root)), ["signin.failed  -", "signin.accepted  -", "signin.sources  -"]);
    // From before the agent's start: some in the last hour, some too old.
    append(root, "btmp", &failures(ATTACKER, 12, NOW - 1_800));
    append(root, "btmp", &failures(ATTACKER, 50, NOW - 7_200));
    append(root, "wtmp.1", &[bytes(7, NOW - 20 * 86_400, "198.51.100.4".parse().unwrap())]);
    append(root, "wtmp", &[bytes(8, NOW - 60, ATTACKER.parse().unwrap())]);
    let mut sensor = sensor(root);
    let mut expected = [
        "signin.failed  0",
        "signin.accepted  0",
        "signin.sources  0",
        "signin.failed.5m 203.0.113.9 0",
        "signin.failed.60m 203.0.113.9 12",
        "signin.accepted.30d 203.0.113.9 0",
    ];
    assert_eq!(look(&mut sensor), expected);
    append(root, "btmp", &failures(ATTACKER, 20, NOW - 30));
    append(root, "btmp", &[vec![1, 2, 3]]);
    expected[0] = "signin.failed  20";
    expected[2] = "signin.sources  1";
    expected[3] = "signin.failed.5m 203.0.113.9 20";
    expected[4] = "signin.failed.60m 203.0.113.9 32";
    assert_eq!(look(&mut sensor), expected);
    std::fs::remove_file(root.join("var/log/btmp")).unwrap();
    append(root, "btmp", &failures("2001:db8::5", 11, NOW - 10));
    append(root, "btmp", &failures("::ffff:198.51.100.4", 10, NOW));
    append(root, "wtmp", &[bytes(7, NOW, "203.0.113.9".parse().unwrap())]);
    let seen = look(&mut sensor);
    assert_eq!(seen[0], "signin.failed  41");
    assert_eq!(seen[1], "signin.accepted  1");
    assert_eq!(
        seen[3..6],
        [
            "signin.failed.5m 198.51.100.4 10",
            "signin.failed.60m 198.51.100.4 10",
            "signin.accepted.30d 198.51.100.4 1"
        ]
    );
    assert!(seen.contains(&"signin.failed.60m 2001:db8::5 11".to_owned()), "{seen:?}");
    assert!(seen.contains(&"signin.accepted.30d 203.0.113.9 1".to_owned()), "{seen:?}");
}

#[test]
fn very_many_sources_do_not_take_more_room() {
    let mut known = Failures::default();
    let attacker: std::net::IpAddr = ATTACKER.parse().unwrap();
    for n in 0..5_000_u32 {
        known.add(std::net::Ipv4Addr::from(n + 1).into(), NOW.into(), NOW.into());
        known.add(attacker, NOW.into(), NOW.into());
    }
    let all = known.within_hour(NOW.into());
    assert_eq!(all.len(), 1024);
    assert_eq!(all[0], (attacker, 5_000, 5_000));
    assert!(known.within_hour(u64::from(NOW) + 3_600).is_empty());
    // A record from the future, or torn, counts nothing.
    known.add(attacker, u64::from(NOW) + 600, NOW.into());
    assert!(known.within_hour(NOW.into()).is_empty());
    assert_eq!(Record::parse(&[0; RECORD]), None);
    assert_eq!(Record::parse(&[7; 20]), None);
}
