use uuid::Uuid;

use super::*;
use crate::store::{Db, rule_states, testing};

fn written(name: &str, scope: Option<Selector>) -> Definition {
    Definition {
        name: name.to_owned(),
        check: Check::Unit { unit: "nginx.service".into() },
        for_ms: 60_000,
        keep_ms: 0,
        severity: Severity::Critical,
        scope,
        labels: BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        enabled: true,
    }
}

#[tokio::test]
async fn a_rule_is_read_as_it_was_written_and_ten_are_there_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_control(dir.path()).await.unwrap();
    let (web, other) = (HostId(Uuid::from_u128(1)), HostId(Uuid::from_u128(2)));
    testing::host(&db, web, "web-01").await;
    testing::label(&db, web, "role", "web", "admin").await;
    let mut tx = db.begin().await.unwrap();
    let shipped = list(&mut tx).await.unwrap();
    assert_eq!(shipped.len(), 10);
    assert!(shipped.iter().all(|rule| !rule.builtin.is_empty() && rule.definition.enabled));
    let on = Selector::Label { name: "role".into(), value: "web".into() };
    let new = written("nginx runs", Some(on));
    let id = insert(&mut tx, &new, "ann", UnixMs(5)).await.unwrap();
    let read = get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((&read.definition, read.version, read.created_by.as_str()), (&new, 1, "ann"));
    assert!(read.covers(web) && !read.covers(other));
    let changed = written("nginx runs everywhere", None);
    assert!(update(&mut tx, id, &changed, "bob", UnixMs(6)).await.unwrap());
    let read = get(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((read.definition, read.version, read.updated_at), (changed, 2, UnixMs(6)));
    assert_eq!(named(&mut tx, "nginx runs everywhere").await.unwrap(), Some(id));
    assert_eq!(count(&mut tx).await.unwrap(), 11);
    // What came with the product stays.
    assert!(!remove(&mut tx, shipped[0].id).await.unwrap());
    assert!(remove(&mut tx, id).await.unwrap() && !remove(&mut tx, id).await.unwrap());
    rule_states::save(&mut tx, web, b"state", UnixMs(7)).await.unwrap();
    rule_states::save(&mut tx, other, b"gone", UnixMs(7)).await.unwrap();
    rule_states::forget(&mut tx).await.unwrap();
    assert_eq!(rule_states::load(&mut tx).await.unwrap(), [(web, b"state".to_vec())]);
    assert_eq!(rule_states::of(&mut tx, other).await.unwrap(), None);
}
