use proptest::prelude::*;

use super::codec::{CodecError, Decoder, Encoder, encode_after, encode_full, is_full};
use super::*;
use crate::metric;

fn process(pid: u32, cpu_ms: u64) -> Process {
    Process {
        pid,
        start_ticks: 100 + u64::from(pid),
        comm: format!("worker-{pid}").into(),
        user: "www-data".into(),
        unit: "nginx.service".into(),
        args: "nginx: worker process".into(),
        cpu_ms,
        rss_bytes: 12_345_678,
        io_read_bytes: None,
        io_write_bytes: Some(cpu_ms * 3),
        threads: 4,
        state: b'S',
    }
}

fn unit(name: &str, restarts: u32) -> Unit {
    Unit {
        name: name.into(),
        active: Active::Active,
        sub: "running".into(),
        restarts,
        tasks: Some(3),
        ..Unit::default()
    }
}

prop_compose! {
    fn any_tick(columns: usize)(
        values in prop::collection::vec(prop_oneof![any::<i64>(), Just(NOT_OBSERVED), 0i64..1000], columns),
        pids in prop::collection::btree_set(1u32..40, 0..20),
        units in prop::collection::btree_map("[a-f]{1,2}\\.service", any::<u32>(), 0..12),
        at in any::<i64>(),
        cpu in any::<u32>(),
    ) -> Tick {
        Tick {
            seq: Seq(0),
            at: UnixMs(at / 4),
            values,
            processes: pids.iter().map(|pid| process(*pid, u64::from(cpu))).collect(),
            units: units.iter().map(|(name, restarts)| unit(name, *restarts)).collect(),
        }
    }
}

proptest! {
    #[test]
    fn every_chain_of_ticks_decodes_to_what_was_encoded(ticks in prop::collection::vec(any_tick(19), 1..12)) {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        for (at, mut tick) in ticks.into_iter().enumerate() {
            tick.seq = Seq(at as u64 + 1);
            let mut frame = Vec::new();
            encoder.encode(&tick, &mut frame);
            prop_assert_eq!(decoder.decode(&frame, 19).unwrap(), &tick);
        }
    }

    #[test]
    fn no_bytes_panic_the_decoder_or_harm_its_chain(bytes in prop::collection::vec(any::<u8>(), 0..300), tick in any_tick(7)) {
        let mut decoder = Decoder::default();
        let mut full = Vec::new();
        encode_full(&tick, &mut full);
        decoder.decode(&full, 7).unwrap();
        let mut hostile = vec![4];
        hostile.extend(&bytes);
        for frame in [&bytes, &hostile] {
            if decoder.decode(frame, 7).is_err() {
                prop_assert_eq!(decoder.last().unwrap(), &tick);
            }
            decoder.decode(&full, 7).unwrap();
        }
    }

    #[test]
    fn a_flipped_or_cut_frame_never_panics(tick in any_tick(7), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut frame = Vec::new();
        encode_full(&tick, &mut frame);
        let at = at.index(frame.len());
        let _ = Decoder::default().decode(&frame[..at], 7);
        frame[at] ^= 1u8 << bit;
        let _ = Decoder::default().decode(&frame, 7);
    }
}

#[test]
fn an_ordinary_delta_is_small_and_a_returning_process_sends_no_text() {
    let mut tick = Tick {
        seq: Seq(1),
        at: UnixMs(1_800_000_000_000),
        values: (0..60).map(|v| v * 1_000_000).collect(),
        processes: (1..=10).map(|pid| process(pid, 50)).collect(),
        units: (0..20).map(|n| unit(&format!("unit-{n:02}.service"), 0)).collect(),
    };
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let mut sizes = Vec::new();
    for step in 0..4u64 {
        tick.seq = Seq(step + 1);
        tick.at = tick.at.plus(10_003);
        tick.values.iter_mut().step_by(2).for_each(|v| *v += 1_200);
        tick.processes.iter_mut().for_each(|p| p.cpu_ms += 17);
        let gone = if step == 1 { tick.processes.pop() } else { None };
        let mut frame = Vec::new();
        encoder.encode(&tick, &mut frame);
        assert_eq!(decoder.decode(&frame, 60).unwrap(), &tick);
        sizes.push(frame.len());
        tick.processes.extend(gone);
    }
    assert!(sizes[0] > 600, "{sizes:?}");
    assert!(sizes[1..].iter().all(|size| *size < 160), "{sizes:?}");
}

#[test]
fn a_new_process_sends_what_its_texts_do_not_share_with_those_before() {
    let path = "/usr/lib/toolchains/stable/bin/compiler --edition=2024 --error-format=json --crate-name";
    let compiler = |pid: u32, name: &str| Process {
        comm: "compiler".into(),
        args: format!("{path} {name} src/{name}/lib.rs").into(),
        io_read_bytes: Some(u64::from(pid) * 512),
        ..process(pid, 30)
    };
    let tick =
        |seq, processes| Tick { seq: Seq(seq), at: UnixMs(0), values: vec![], processes, units: vec![] };
    let ticks = [
        tick(1, vec![compiler(100, "first"), process(7, 10)]),
        tick(2, vec![compiler(104, "second"), process(7, 20)]),
        tick(3, vec![process(7, 20)]),
        tick(4, vec![process(7, 20), compiler(120, "third"), compiler(121, "fourth")]),
    ];
    let (mut encoder, mut decoder, mut sizes) = (Encoder::default(), Decoder::default(), Vec::new());
    for tick in &ticks {
        let mut frame = Vec::new();
        encoder.encode(tick, &mut frame);
        assert_eq!(decoder.decode(&frame, 0).unwrap(), tick);
        sizes.push(frame.len());
    }
    assert!(sizes[0] > 150 && sizes[1] < 70 && sizes[3] < 120, "{sizes:?}");
    // A writer that remembers only the frame before is understood by a reader that remembers more.
    let mut frame = Vec::new();
    encode_after(Some(&ticks[2]), &ticks[3], &mut frame);
    let mut decoder = Decoder::default();
    for tick in &ticks[..3] {
        let mut full = Vec::new();
        encode_after(decoder.last(), tick, &mut full);
        decoder.decode(&full, 0).unwrap();
    }
    assert_eq!(decoder.decode(&frame, 0).unwrap(), &ticks[3]);
}

#[test]
fn a_text_that_copies_from_where_nothing_is_or_beyond_its_end_is_refused() {
    // A full frame with one process at zero whose texts are 3 bytes.
    let frame = |texts: &[u8]| [&[3, 1, 0, 0, 1, 0, 0], texts, &[0, 0]].concat();
    let read = |texts: &[u8]| Decoder::default().decode(&frame(texts), 0).map(|tick| tick.processes.len());
    assert_eq!(read(&[3, 6, 0, 0, 0]), Ok(1));
    assert_eq!(read(&[3, 2, 0, 5, 1]), Ok(1), "what is being written may be copied");
    assert_eq!(read(&[3, 2, 0, 5, 2]), Err(CodecError::BadCopy), "before the beginning");
    assert_eq!(read(&[3, 2, 0, 5, 0]), Err(CodecError::BadCopy), "from nowhere");
    assert_eq!(read(&[3, 2, 0, 9, 1]), Err(CodecError::BadCopy), "more than there is room for");
    assert_eq!(read(&[3, 0, 6, 0, 0, 0]), Err(CodecError::BadCopy), "a step without length");
    assert_eq!(read(&[3, 6, 9, 0, 0]), Err(CodecError::Truncated), "a text longer than all");
}

#[test]
fn a_tick_over_the_caps_or_out_of_order_travels_within_them() {
    let mut tick = Tick {
        seq: Seq(1),
        at: UnixMs(0),
        values: vec![],
        processes: (1..=200).map(|pid| process(pid, 1)).collect(),
        units: (0..600).rev().map(|n| unit(&format!("u{n:03}.service"), 0)).collect(),
    };
    tick.units.push(unit("u001.service", 9));
    tick.processes[0].args = "ố".repeat(MAX_TEXT).into();
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    for seq in 1..4 {
        tick.seq = Seq(seq);
        tick.units[5].restarts += 1;
        let mut frame = Vec::new();
        encoder.encode(&tick, &mut frame);
        let got = decoder.decode(&frame, 0).unwrap();
        assert_eq!(got, tick.normal().as_ref());
        assert_eq!((got.processes.len(), got.units.len()), (MAX_PROCESSES, MAX_UNITS));
    }
}

#[test]
fn a_delta_needs_its_base_and_the_right_schema() {
    let tick =
        |seq| Tick { seq: Seq(seq), at: UnixMs(5), values: vec![1, 2], processes: vec![], units: vec![] };
    let mut encoder = Encoder::default();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    encoder.encode(&tick(1), &mut first);
    encoder.encode(&tick(2), &mut second);
    assert!(is_full(&first) && !is_full(&second));
    assert_eq!(Decoder::default().decode(&second, 2), Err(CodecError::NoBase));
    assert_eq!(Decoder::default().decode(&first, 3), Err(CodecError::WrongColumns { got: 2, want: 3 }));
    let mut trailing = first.clone();
    trailing.push(0);
    assert_eq!(Decoder::default().decode(&trailing, 2), Err(CodecError::Trailing));
}

#[test]
fn a_schema_is_addressed_by_its_content() {
    let column = |id, label| Column::new(id, label).unwrap();
    let a = Schema { columns: vec![column(metric::CPU_USER, ""), column(metric::FS_FREE, "/")] };
    let mut b = a.clone();
    assert_eq!(a.id(), b.id());
    b.columns[1].label = "/var".into();
    assert_ne!(a.id(), b.id());
    assert_eq!(a.position(metric::FS_FREE, "/"), Some(1));
    b.columns[0].scale = 0;
    assert_eq!(b.validate(), Err(SchemaError::ZeroScale(0)));
}
