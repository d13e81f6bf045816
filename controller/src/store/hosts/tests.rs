//! Hosts listed, changed, removed.

use super::*;
use crate::store::{labels, testing};

fn id(n: u128) -> HostId {
    HostId(uuid::Uuid::from_u128(n))
}

async fn made(dir: &std::path::Path) -> Db {
    let db = Db::open_control(dir).await.unwrap();
    let mut tx = db.write().begin().await.unwrap();
    for n in 1..=5 {
        insert(&mut tx, id(n), &format!("web_{n}%"), "0.1.0", UnixMs(n as i64)).await.unwrap();
    }
    tx.commit().await.unwrap();
    db
}

fn ids(hosts: &[Host]) -> Vec<u128> {
    hosts.iter().map(|host| host.id.0.as_u128()).collect()
}

#[tokio::test]
async fn hosts_are_listed_by_page_label_and_name() {
    let dir = tempfile::tempdir().unwrap();
    let db = made(dir.path()).await;
    let all = HostFilter { limit: 2, ..HostFilter::default() };
    let first = list(&db, &all).await.unwrap();
    assert_eq!(ids(&first), [1, 2]);
    let next = HostFilter { after: Some(first[1].id), limit: 9, ..all.clone() };
    assert_eq!(ids(&list(&db, &next).await.unwrap()), [3, 4, 5]);
    let env = |value: &str| BTreeMap::from([("env".to_owned(), value.to_owned())]);
    let mut tx = db.begin().await.unwrap();
    labels::set_labels(&mut tx, id(2), &env("prod")).await.unwrap();
    labels::set_labels(&mut tx, id(4), &env("test")).await.unwrap();
    tx.commit().await.unwrap();
    let by = |value: Option<&str>| HostFilter {
        label: Some(("env".into(), value.map(str::to_owned))),
        limit: 9,
        ..HostFilter::default()
    };
    assert_eq!(ids(&list(&db, &by(None)).await.unwrap()), [2, 4]);
    let prod = list(&db, &by(Some("prod"))).await.unwrap();
    assert_eq!((ids(&prod), prod[0].labels["env"].admin), (vec![2], true));
    for (name, want) in [("b_3", vec![3]), ("web%", vec![]), ("%", vec![1, 2, 3, 4, 5]), ("WEB_5", vec![5])] {
        let named = HostFilter { name: Some(name.into()), limit: 9, ..HostFilter::default() };
        assert_eq!(ids(&list(&db, &named).await.unwrap()), want, "{name}");
    }
}

#[tokio::test]
async fn a_removed_host_is_gone_from_lists_and_cannot_be_changed() {
    let dir = tempfile::tempdir().unwrap();
    let db = made(dir.path()).await;
    let mut tx = db.begin().await.unwrap();
    rename(&mut tx, id(1), "db-1").await.unwrap();
    set_criticality(&mut tx, id(1), 1).await.unwrap();
    tx.commit().await.unwrap();
    touch(&db, &[(id(1), UnixMs(50)), (id(2), UnixMs(60))]).await.unwrap();
    touch(&db, &[(id(1), UnixMs(40))]).await.unwrap();
    assert_eq!(removed_since(&db, UnixMs(0)).await.unwrap(), []);
    testing::remove_host(&db, id(1)).await;
    assert_eq!(removed_since(&db, UnixMs(99)).await.unwrap(), [id(1)]);
    assert_eq!(removed_since(&db, UnixMs(100)).await.unwrap(), []);
    let host = get(&db, id(1)).await.unwrap();
    assert_eq!((host.name.as_str(), host.criticality, host.last_seen), ("db-1", 1, UnixMs(50)));
    assert_eq!(host.removed_at, Some(UnixMs(99)));
    assert_eq!(count(&db).await.unwrap(), 4);
    let gone = |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::NotFound("host"))));
    let mut tx = db.begin().await.unwrap();
    gone(rename(&mut tx, id(1), "x").await);
    gone(remove(&mut tx, id(1), "ann", UnixMs(100)).await);
    gone(labels::set_labels(&mut tx, id(1), &BTreeMap::new()).await);
    gone(rename(&mut tx, id(9), "x").await);
    assert!(rename(&mut tx, id(2), " ").await.is_err());
    drop(tx);
    let all = HostFilter { removed: true, limit: 9, ..HostFilter::default() };
    assert_eq!(list(&db, &all).await.unwrap().len(), 5);
}

#[test]
fn a_status_follows_from_session_and_silence() {
    let at = |live, ago: Option<i64>| {
        HostStatus::derive(live, ago.map(|ago| UnixMs(1_000_000 - ago)), 10_000, UnixMs(1_000_000))
    };
    assert_eq!(at(true, None), HostStatus::Online);
    assert_eq!(at(false, Some(25_000)), HostStatus::Online);
    assert_eq!(at(false, Some(25_001)), HostStatus::Stale);
    assert_eq!(at(false, Some(90_001)), HostStatus::Offline);
    assert_eq!(at(false, None), HostStatus::Offline);
}
