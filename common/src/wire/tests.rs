use proptest::prelude::*;

use super::frame::{Frame, FrameBuf};
use super::*;
use crate::bytes::{Bytes, SchemaId};
use crate::ids::{Epoch, Seq};
use crate::metric;
use crate::sample::{Column, Schema};
use crate::time::UnixMs;

fn round_trip(message: &Upward) -> (Upward, usize) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes).unwrap();
    let mut buf = FrameBuf::default();
    buf.extend(&bytes);
    (Upward::decode(buf.next_frame().unwrap().unwrap()).unwrap(), bytes.len())
}

#[test]
fn messages_come_back_as_they_were() {
    let samples = Samples {
        chain: Some(Chain { epoch: Epoch(u64::MAX), schema: SchemaId([9; 16]) }),
        frames: vec![Bytes(vec![1; 140])],
    };
    let gap = Gap {
        epoch: Epoch(1),
        seqs: Some((Seq(3), Seq(9))),
        from: UnixMs(1),
        to: UnixMs(2),
        reason: GapReason::SpoolFull,
    };
    let schema = Schema { columns: vec![Column::new(metric::FS_FREE, "/var").unwrap()] };
    for message in [
        Upward::Samples(samples),
        Upward::Gap(gap),
        Upward::Schema(schema),
        Upward::Inventory(Box::default()),
    ] {
        assert_eq!(round_trip(&message).0, message);
    }
}

#[test]
fn a_chain_that_goes_on_costs_few_bytes_beside_its_frame() {
    let samples = Upward::Samples(Samples { chain: None, frames: vec![Bytes(vec![1; 140])] });
    let (_, size) = round_trip(&samples);
    assert!(size <= 140 + 10, "{size}");
}

#[test]
fn fields_of_a_newer_version_are_ignored_and_older_ones_default() {
    // A packed struct is a map from index to value.
    let newer = std::collections::BTreeMap::from([(0u8, 5u64), (1, 6), (2, 7)]);
    let ack: Ack = limits::decode(&serde_cbor::to_vec(&newer).unwrap()).unwrap();
    assert_eq!(ack, Ack { epoch: Epoch(5), seq: Seq(6) });
}

#[test]
fn versions_meet_at_the_newest_that_both_speak() {
    assert_eq!(negotiate((1, 3), (2, 4)), Some(3));
    assert_eq!(negotiate((1, 1), (1, 1)), Some(1));
    assert_eq!(negotiate((2, 3), (1, 1)), None);
}

#[test]
fn a_list_of_probes_comes_back_and_a_longer_one_does_not_decode() {
    use crate::probe::{Check, HostProbe, MAX_PROBES, Method, ProbeId, ProbeList, Record};
    let ca = Some("-----BEGIN CERTIFICATE-----".to_owned());
    let host = || "a.example".to_owned();
    let checks = [
        Check::Ping { address: host(), count: 3 },
        Check::Tcp { host: host(), port: 5432 },
        Check::Http {
            url: "https://a.example/".into(),
            method: Method::Head,
            status_min: 200,
            status_max: 299,
            contains: Some("text".into()),
            redirects: 2,
            ca: ca.clone(),
        },
        Check::Tls { host: host(), port: 443, server_name: None, warn_days: 21, critical_days: 7, ca },
        Check::Dns { name: host(), record: Record::Mx, resolver: None, expect: vec!["10 b".into()] },
    ];
    let probe = |number: usize| HostProbe {
        id: ProbeId(number as u32),
        check: checks[number % checks.len()].clone(),
        interval_ms: 10_000,
        timeout_ms: 1_000,
    };
    let sent = |count| {
        let message = Downward::Probes(ProbeList { probes: (0..count).map(probe).collect() });
        let mut bytes = Vec::new();
        message.encode(&mut bytes).unwrap();
        let mut buf = FrameBuf::default();
        buf.extend(&bytes);
        Downward::decode(buf.next_frame().unwrap().unwrap()).map(|decoded| decoded == message)
    };
    assert!(sent(0).unwrap() && sent(MAX_PROBES).unwrap());
    assert!(sent(MAX_PROBES + 1).is_err() && sent(2_000).is_err());
    let huge = Check::Tcp { host: "x".repeat(limits::MAX_PROBE_LIST), port: 1 };
    let probes = vec![HostProbe { check: huge, ..probe(0) }];
    assert!(Downward::Probes(ProbeList { probes }).encode(&mut Vec::new()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_panic_any_decoder(kind in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let frame = Frame { kind, body: &body };
        let _ = Upward::decode(frame);
        let _ = Downward::decode(frame);
        let _ = EnrolRequest::decode(frame);
        let _ = EnrolAnswer::decode(frame);
    }
}
