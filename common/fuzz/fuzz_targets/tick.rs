//! Any bytes as a chain of tick frames: the first byte gives the number of columns, the second the
//! length of each frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sysop_common::sample::codec::{Decoder, Encoder};
use sysop_common::sample::{MAX_PROCESSES, MAX_UNITS};

fuzz_target!(|bytes: &[u8]| {
    let [columns, size, rest @ ..] = bytes else { return };
    let columns = usize::from(*columns);
    let (mut decoder, mut encoder, mut again) = (Decoder::default(), Encoder::default(), Decoder::default());
    for frame in rest.chunks(usize::from(*size).max(1)) {
        let Ok(tick) = decoder.decode(frame, columns) else { continue };
        assert!(tick.processes.len() <= MAX_PROCESSES && tick.units.len() <= MAX_UNITS);
        let mut out = Vec::new();
        encoder.encode(tick, &mut out);
        // Units come back sorted by name; a hostile frame may hold them in any order.
        let mut want = tick.clone();
        let mut got = again.decode(&out, columns).expect("what was encoded decodes").clone();
        want.units.sort_by(|a, b| a.name.cmp(&b.name));
        got.units.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(want.values, got.values);
        assert_eq!(want.seq, got.seq);
    }
});
