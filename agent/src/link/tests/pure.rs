//! One session and its feed, without a socket.

use std::collections::VecDeque;

use proptest::prelude::*;
use sysop_common::sample::codec::Decoder;
use sysop_common::wire::frame::FrameBuf;
use sysop_common::wire::{Ack, Hello, PreviousEpoch, VERSION, Welcome};

use super::*;
use crate::link::feed::{Feed, Source};
use crate::link::state::{Effect, Fault, LIVE, Patience, Session};
use crate::spool::{Entry, Sample};

struct Given {
    entries: VecDeque<Entry>,
    newest: Option<Arc<Sample>>,
}

impl Source for Given {
    fn next(&mut self) -> Option<Entry> {
        self.entries.pop_front()
    }

    fn newest(&self) -> Option<Arc<Sample>> {
        self.newest.clone()
    }

    fn backlog(&self) -> u64 {
        self.entries.len() as u64
    }
}

fn sample(seq: u64, bytes: usize) -> Sample {
    let schema = Arc::new(Schema { columns: vec![Column::new(metric::CPU_USER, "").unwrap()] });
    let processes = (0..bytes / 160)
        .map(|pid| Process {
            pid: pid as u32,
            start_ticks: seq,
            args: "x".repeat(150).into(),
            ..Process::default()
        })
        .take(64)
        .collect();
    Sample::new(schema, Tick { seq: Seq(seq), at: UnixMs(1), values: vec![1], processes, units: vec![] })
}

fn given(epoch: u64, seqs: std::ops::RangeInclusive<u64>, bytes: usize) -> Given {
    let entry = |seq| {
        let Sample { seq, at, schema_id, schema, frame, .. } = sample(seq, bytes);
        Entry::Sample { epoch: Epoch(epoch), seq, at, schema_id, schema, frame, tick: None }
    };
    Given { entries: seqs.map(entry).collect(), newest: None }
}

fn session() -> (Session, Instant) {
    let hello = Hello {
        version_min: VERSION,
        version_max: VERSION,
        agent_version: String::new(),
        features: vec![],
        epoch: Epoch(2),
        previous: Some(PreviousEpoch { epoch: Epoch(1), last_seq: Seq(9), last_at: UnixMs(0) }),
        boot_id: String::new(),
        next_seq: Seq(1),
        clock: UnixMs(0),
    };
    let now = Instant::now();
    let patience = Patience { welcome: Duration::from_secs(5), ack: Duration::from_secs(5) };
    (Session::new(hello, patience, now), now)
}

fn bytes(message: &Downward) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out).unwrap();
    out
}

fn welcome(version: u16) -> Downward {
    Downward::Welcome(Welcome {
        version,
        features: vec![LIVE.to_owned()],
        controller: ControllerId(uuid::Uuid::nil()),
        stored: vec![(Epoch(1), Seq(7))],
        interval_ms: 1_000,
        reconnect_window_ms: 0,
        clock: UnixMs(0),
    })
}

/// Messages in `out`, decoded.
fn messages(out: &[u8]) -> Vec<Upward> {
    let mut frames = FrameBuf::default();
    frames.extend(out);
    let mut found = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        found.push(Upward::decode(frame).unwrap());
    }
    found
}

#[test]
fn a_session_begins_with_hello_and_sends_samples_only_after_the_welcome() {
    let (mut session, now) = session();
    let (mut source, mut out) = (given(2, 1..=3, 0), Vec::new());
    session.transmit(Some(&mut source), &mut out, now).unwrap();
    assert!(matches!(messages(&out)[..], [Upward::Hello(_)]));
    assert!(matches!(session.expired(now + Duration::from_secs(5)), Err(Fault::Silent)));
    session.receive(&bytes(&welcome(1)), now).unwrap();
    assert_eq!(session.effect(), Some(Effect::Stored(Epoch(1), Seq(7))));
    assert!(matches!(session.effect(), Some(Effect::Welcomed { .. })));
    out.clear();
    session.transmit(Some(&mut source), &mut out, now).unwrap();
    assert!(matches!(&messages(&out)[..], [Upward::Schema(_), Upward::Samples(s)] if s.frames.len() == 3));
}

#[test]
fn silence_counts_from_the_last_acknowledgement_that_says_something_new() {
    let (mut session, now) = session();
    session.receive(&bytes(&welcome(1)), now).unwrap();
    let second = Duration::from_secs(1);
    assert_eq!(session.deadline(), None, "nothing is on its way");
    session.transmit(Some(&mut given(2, 1..=3, 0)), &mut Vec::new(), now).unwrap();
    let ack = |seq| bytes(&Downward::Ack(Ack { epoch: Epoch(2), seq: Seq(seq) }));
    session.receive(&ack(1), now + 2 * second).unwrap();
    session.receive(&ack(1), now + 4 * second).unwrap();
    assert_eq!(session.deadline(), Some(now + 7 * second));
    assert!(matches!(session.expired(now + 7 * second), Err(Fault::Stalled)));
    session.receive(&ack(3), now + 6 * second).unwrap();
    assert_eq!(session.deadline(), None);
}

#[test]
fn what_cannot_begin_or_go_on_a_session_ends_it_with_its_own_reason() {
    let ends = |messages: &[Vec<u8>]| {
        let (mut session, now) = session();
        session.receive(&messages.concat(), now).unwrap_err().to_string()
    };
    let ack = bytes(&Downward::Ack(Ack { epoch: Epoch(2), seq: Seq(1) }));
    assert!(ends(&[ack]).contains("did not begin with a welcome"));
    assert!(ends(&[bytes(&welcome(9))]).contains("version 9"));
    assert!(ends(&[bytes(&Downward::Close("because".into()))]).contains("because"));
    assert!(ends(&[vec![0x03, 200, 0, 0]]).contains("unknown kind"));
    assert!(ends(&[bytes(&welcome(1)), vec![0x02, 66, 0xff]]).contains("kind 66"));
    let (mut session, now) = session();
    let newer =
        [bytes(&welcome(1)), vec![0x03, 200, 0, 0], bytes(&Downward::Cancel(event(0).order))].concat();
    session.receive(&newer, now).unwrap();
    assert!(std::iter::from_fn(|| session.effect()).any(|e| matches!(e, Effect::Cancel(_))));
}

#[test]
fn batches_and_what_is_on_its_way_are_bounded_and_differences_decode() {
    let (mut feed, mut source) = (Feed::default(), given(1, 1..=3_000, 4_000));
    let (mut decoder, mut seqs, mut sent) = (Decoder::default(), Vec::new(), 0);
    loop {
        let mut out = Vec::new();
        feed.fill(&mut source, &mut out).unwrap();
        if out.is_empty() {
            break;
        }
        sent += out.len();
        assert!(out.len() < 90 << 10, "{}", out.len());
        for message in messages(&out) {
            let Upward::Samples(samples) = message else { continue };
            seqs.extend(samples.frames.iter().map(|f| decoder.decode(&f.0, 1).unwrap().seq.0));
        }
        assert!(feed.awaits_ack());
        if sent > 128 << 10 {
            panic!("more than the bound is on its way");
        }
    }
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert_eq!(feed.acknowledged(Epoch(9), Seq(1)), []);
    assert_eq!(feed.acknowledged(Epoch(1), Seq(u64::MAX)), [(Epoch(1), Seq(seqs.len() as u64))]);
    assert!(!feed.awaits_ack());
    let mut out = Vec::new();
    feed.fill(&mut source, &mut out).unwrap();
    assert!(!out.is_empty());
}

#[test]
fn an_acknowledgement_covers_the_epochs_that_were_sent_before() {
    let mut feed = Feed::default();
    let mut source = given(1, 5..=6, 0);
    source.entries.extend(given(2, 1..=4, 0).entries);
    let mut out = Vec::new();
    feed.fill(&mut source, &mut out).unwrap();
    let chains = messages(&out).into_iter().filter(|m| matches!(m, Upward::Samples(s) if s.chain.is_some()));
    assert_eq!(chains.count(), 2, "an epoch begins a chain of its own");
    assert_eq!(feed.acknowledged(Epoch(2), Seq(3)), [(Epoch(1), Seq(6)), (Epoch(2), Seq(3))]);
    assert!(feed.awaits_ack());
    assert_eq!(feed.acknowledged(Epoch(2), Seq(4)), [(Epoch(2), Seq(4))]);
    assert!(!feed.awaits_ack());
}

proptest! {
    #[test]
    fn no_bytes_panic_a_session(greeted in any::<bool>(), pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6)) {
        let (mut session, now) = session();
        if greeted {
            session.receive(&bytes(&welcome(1)), now).unwrap();
        }
        for piece in &pieces {
            if session.receive(piece, now).is_err() {
                break;
            }
        }
    }
}
