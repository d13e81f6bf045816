//! Series against a plain computation.

use sysop_common::time::{HOUR_MS, MINUTE_MS};

use super::*;

async fn series(
    store: &SampleStore,
    host: HostId,
    metric: &str,
    to: i64,
    resolution: Resolution,
) -> SeriesSet {
    let request = SeriesRequest {
        host,
        metrics: vec![(metric.into(), None)],
        from: START,
        to: START.plus(to),
        resolution,
    };
    store.series(&request).await.unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs().max(1.0)
}

/// Ticks at 10 s with jitter; a counter that grows unevenly.
fn made(maker: &Maker, n: u64) -> Vec<Incoming> {
    (0..n)
        .map(|i| {
            let at = START.plus(i as i64 * 10_000 + (i as i64 * 37 % 11) * 10);
            let mut row = values(i as i64);
            row[13] = (0..i as i64).map(|k| 1_000 + k * k % 977).sum();
            maker.with(i + 1, at, row)
        })
        .collect()
}

#[tokio::test]
async fn rates_and_ratios_are_those_of_a_plain_computation_wherever_the_samples_lie() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let maker = Maker::new(1);
    let ticks = made(&maker, 720);
    for (n, tick) in ticks.iter().enumerate() {
        put(&store, vec![tick.clone()]).await;
        if n == 300 {
            store.compact(tick.stored.received_at).await.unwrap();
        }
    }
    let value = |tick: &Incoming, at: usize| tick.stored.tick.values[at] as f64;
    // Tick by tick.
    let set = series(&store, maker.host, "net.rx_bytes", 2 * HOUR_MS, Resolution::Step(1_000)).await;
    assert_eq!((set.step_ms, set.series.len()), (0, 2));
    assert_eq!((set.series[0].label.as_str(), set.series[0].unit), ("eth0", SeriesUnit::BytesPerS));
    for (n, pair) in ticks.windows(2).enumerate() {
        let dt = pair[1].stored.at.since(pair[0].stored.at) as f64 / 1_000.0;
        let (at, got) = set.series[0].points[n + 1];
        assert_eq!(at, pair[1].stored.at.0);
        assert!(close(got.unwrap(), (value(&pair[1], 13) - value(&pair[0], 13)) / dt), "{n}");
    }
    assert_eq!(set.series[0].points[0].1, None, "no rate without a tick before");
    assert_eq!(set.series[1].points[9].1, Some(0.0));
    // By step: the mean over a step's time.
    let set = series(&store, maker.host, "net.rx_bytes", 2 * HOUR_MS, Resolution::Points(30)).await;
    assert_eq!(set.step_ms, 5 * MINUTE_MS);
    for (at, got) in &set.series[0].points {
        let (mut grown, mut time) = (0.0, 0.0);
        for pair in ticks.windows(2).filter(|p| p[1].stored.at.0.div_euclid(set.step_ms) == at / set.step_ms)
        {
            grown += value(&pair[1], 13) - value(&pair[0], 13);
            time += pair[1].stored.at.since(pair[0].stored.at) as f64 / 1_000.0;
        }
        match got {
            Some(got) => assert!(close(*got, grown / time)),
            None => assert_eq!(time, 0.0),
        }
    }
    // Derived ones.
    let set = series(&store, maker.host, "cpu.usage", HOUR_MS, Resolution::Step(1_000)).await;
    let want = 1_530.0 / 9_630.0;
    assert!(set.series[0].points[1..].iter().all(|(_, got)| close(got.unwrap(), want)));
    assert_eq!(set.series[0].unit, SeriesUnit::Ratio);
    let set = series(&store, maker.host, "fs.used_ratio", HOUR_MS, Resolution::Step(1_000)).await;
    let (used, left) = ((60i64 << 30) as f64, (35i64 << 30) as f64);
    assert!(close(set.series[0].points[0].1.unwrap(), used / (used + left)));
    let latest = store.latest(maker.host).unwrap();
    assert!(close(latest.value("cpu.usage", "").unwrap(), want));
    assert!(close(latest.value("memory.used", "").unwrap(), value(&ticks[719], 8) - value(&ticks[719], 9)));
    assert_eq!(latest.value("fs.used_ratio", "/nowhere"), None);
    assert_eq!(latest.value("no.such", ""), None);
}

#[tokio::test]
async fn no_rate_crosses_a_gap_a_reset_or_a_reboot() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let mut maker = Maker::new(1);
    let row = |counter: i64| {
        let mut row = values(1);
        row[13] = counter;
        row
    };
    let mut ticks = Vec::new();
    let mut at = START;
    for (n, (step, counter)) in [
        (0, 1_000),
        (10_000, 2_000),
        (10_000, 3_000),
        (10_000, 4_000),
        // A gap of 26 s.
        (26_000, 9_000),
        (10_000, 10_000),
        // Just no gap.
        (25_000, 12_500),
        (10_000, 13_500),
        // A reset.
        (10_000, 500),
        (10_000, 1_500),
        (10_000, 2_500),
        (10_000, 3_500),
    ]
    .into_iter()
    .enumerate()
    {
        at = at.plus(step);
        ticks.push(maker.with(n as u64 + 1, at, row(counter)));
    }
    // A reboot after which the counter is larger at once.
    (maker.epoch, maker.boot) = (Epoch(2), Boot(2));
    for n in 0..4 {
        at = at.plus(10_000);
        ticks.push(maker.with(n + 1, at, row(9_000 + n as i64 * 1_000)));
    }
    put(&store, ticks).await;
    for compacted in [false, true] {
        if compacted {
            store.compact(at.plus(HOUR_MS)).await.unwrap();
        }
        let set = series(&store, maker.host, "net.rx_bytes", HOUR_MS, Resolution::Step(1_000)).await;
        let got: Vec<Option<f64>> = set.series[0].points.iter().map(|(_, value)| *value).collect();
        let rate = Some(100.0);
        let want = [
            None, rate, rate, rate, None, None, rate, rate, rate, None, rate, rate, rate, None, None, rate,
            rate, rate,
        ];
        assert_eq!(got, want, "compacted: {compacted}");
    }
}

#[tokio::test]
async fn a_changed_interval_is_no_gap_and_a_missing_value_is_no_zero() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let maker = Maker::new(1);
    let mut at = START;
    let mut ticks = Vec::new();
    for n in 1..=60u64 {
        at = at.plus(if n <= 30 { 30_000 } else { 1_000 });
        let mut row = values(at.0 - START.0);
        if n == 40 {
            row[9] = sysop_common::sample::NOT_OBSERVED;
        }
        ticks.push(maker.with(n, at, row));
    }
    put(&store, ticks).await;
    let set = series(&store, maker.host, "cpu.usage", HOUR_MS, Resolution::Step(1_000)).await;
    assert!(set.series[0].points[1..].iter().all(|(_, value)| value.is_some()));
    assert_eq!(set.series[0].points.len(), 60);
    let set = series(&store, maker.host, "memory.used", HOUR_MS, Resolution::Step(1_000)).await;
    let missing: Vec<usize> =
        set.series[0].points.iter().enumerate().filter(|(_, p)| p.1.is_none()).map(|(at, _)| at).collect();
    assert_eq!(missing, [39]);
}

#[tokio::test]
async fn all_series_of_a_set_have_the_same_times_and_its_json_is_the_api_s() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let maker = Maker::new(1);
    put(&store, made(&maker, 20)).await;
    let metrics = ["cpu.mode.user", "load.1", "fs.used", "no.such"].map(|name| (name.to_owned(), None));
    let request = SeriesRequest {
        host: maker.host,
        metrics: metrics.to_vec(),
        from: START,
        to: START.plus(MINUTE_MS),
        resolution: Resolution::Points(300),
    };
    let set = store.series(&request).await.unwrap();
    let times = |series: &Series| series.points.iter().map(|p| p.0).collect::<Vec<_>>();
    assert_eq!(set.series.len(), 3);
    assert!(set.series.iter().all(|series| times(series) == times(&set.series[0])));
    let json = serde_json::to_value(&set).unwrap();
    assert_eq!(json["series"][0]["unit"], "ratio");
    assert_eq!(json["series"][0]["points"][0][1], serde_json::Value::Null);
    assert_eq!(json["series"][2]["points"][0][1], (60i64 << 30) as f64);
    assert_eq!(json["gaps"].as_array().unwrap().len(), 0);
}
