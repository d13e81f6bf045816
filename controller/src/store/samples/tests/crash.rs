//! The process is killed at any moment, also in the middle of compactions: what was committed is there,
//! once.

use std::io::BufRead as _;
use std::process::{Command, Stdio};

use sysop_common::time::HOUR_MS;

use super::*;

const DIR: &str = "SYSOP_TEST_CRASH_DIR";
const CHILD: &str = "store::samples::tests::crash::child_that_is_killed";
/// Hosts that the child writes.
const HOSTS: u64 = 5;

/// Does nothing by itself: what the next test starts and kills.
#[tokio::test]
async fn child_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = SampleStore::open(std::path::Path::new(&dir), Options::default()).await.unwrap();
    let makers: Vec<Maker> = (1..=HOSTS).map(|n| Maker::new(u128::from(n))).collect();
    let mut seq = store.stored_epochs(makers[0].host).await.unwrap().first().map_or(0, |stored| stored.seq.0);
    let background = store.clone();
    tokio::spawn(async move {
        let mut now = START.plus(HOUR_MS);
        loop {
            now = now.plus(1_000);
            background.compact(now).await.unwrap();
            background.merge(now.plus(99 * HOUR_MS)).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
    });
    loop {
        seq += 1;
        let at = START.plus(seq as i64 * 10_000);
        let mut row = values(seq as i64);
        row[15] = seq as i64;
        put(&store, makers.iter().map(|maker| maker.with(seq, at, row.clone())).collect()).await;
        println!("committed {seq}");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_kill_during_compaction_loses_nothing_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut committed = 0u64;
    for round in 0..8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = committed + 11 + round * 7;
        while committed < enough {
            let line = lines.next().expect("the child ended by itself").unwrap();
            if let Some((_, seq)) = line.split_once("committed ") {
                committed = seq.trim().parse().unwrap();
            }
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some((_, seq)) = line.split_once("committed ") {
                committed = seq.trim().parse().unwrap_or(committed);
            }
        }
        child.wait().unwrap();
        let store = open(dir.path()).await;
        for n in 1..=HOSTS {
            let got: Vec<u64> =
                seen(&store, host(u128::from(n))).await.into_iter().map(|(seq, _)| seq).collect();
            let last = got.last().copied().unwrap_or(0);
            assert!(last == committed || last == committed + 1, "{last} after {committed} in round {round}");
            assert_eq!(got, (1..=last).collect::<Vec<_>>(), "round {round}, host {n}");
        }
        store.close().await;
    }
}
