//! Any bytes through the frame reader and every decoder of messages, as a hostile peer would send them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sysop_common::wire::frame::FrameBuf;
use sysop_common::wire::{Downward, EnrolAnswer, EnrolRequest, Upward};

fuzz_target!(|bytes: &[u8]| {
    let mut buf = FrameBuf::default();
    buf.extend(bytes);
    while let Ok(Some(frame)) = buf.next_frame() {
        if let Ok(message) = Upward::decode(frame) {
            // What decodes must encode again, and to the same message.
            let mut again = Vec::new();
            if message.encode(&mut again).is_ok() {
                let mut second = FrameBuf::default();
                second.extend(&again);
                let frame = second.next_frame().unwrap().unwrap();
                assert_eq!(Upward::decode(frame).unwrap(), message);
            }
        }
        let _ = Downward::decode(frame);
        let _ = EnrolRequest::decode(frame);
        let _ = EnrolAnswer::decode(frame);
    }
});
