//! Messages of both byte orders, and bytes that are none.

use proptest::prelude::*;

use super::*;

/// A reply as the bus sends it, in either byte order.
fn reply(big_endian: bool, body: &[u8]) -> Vec<u8> {
    let number = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut out = vec![if big_endian { b'B' } else { b'l' }, METHOD_RETURN, 1, 1];
    out.extend(number(u32::try_from(body.len()).unwrap()));
    out.extend(number(9));
    // Reply serial 7, and the sender.
    let mut fields = vec![FIELD_REPLY_SERIAL, 1, b'u', 0];
    fields.extend(number(7));
    fields.extend([7, 1, b's', 0]);
    fields.extend(number(4));
    fields.extend(b":1.2\0");
    out.extend(number(u32::try_from(fields.len()).unwrap()));
    out.extend(&fields);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(body);
    out
}

#[test]
fn call_has_the_form_of_the_specification() {
    let call = Call {
        destination: "a.b",
        path: "/a",
        interface: "a.b",
        member: "M",
        arguments: &[Argument::Texts(&["x"]), Argument::Text("yz")],
    };
    let mut out = Vec::new();
    call.write(5, &mut out);
    let length = message_length(out.first_chunk().unwrap()).unwrap();
    assert_eq!(length, out.len());
    assert_eq!(&out[..4], b"l\x01\x00\x01");
    // Length of the array, its one text, padding, the second argument.
    assert!(out.ends_with(b"\x06\0\0\0\x01\0\0\0x\0\0\0\x02\0\0\0yz\0"));
}

#[test]
fn replies_in_both_byte_orders_are_read() {
    for big_endian in [false, true] {
        let number = if big_endian { 5_u32.to_be_bytes() } else { 5_u32.to_le_bytes() };
        let message = reply(big_endian, &[&[1, b'u', 0, 0][..], &number].concat());
        assert_eq!(message_length(message.first_chunk().unwrap()), Ok(message.len()));
        let incoming = parse(&message).unwrap();
        assert_eq!(incoming.answers, 7);
        assert_eq!(incoming.body.unwrap().variant(), Ok(Value::Number(5)));
    }
}

#[test]
fn array_that_claims_more_than_there_is_is_malformed() {
    let message = reply(false, &[&u32::MAX.to_le_bytes()[..], &[0; 12]].concat());
    let mut body = parse(&message).unwrap().body.unwrap();
    assert_eq!(body.structs(|reader| reader.text().map(drop)), Err(Malformed));
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..40_usize, value: u8) {
        if let Some(fixed) = bytes.first_chunk() {
            let _ = message_length(fixed);
        }
        let mut message = reply(false, b"\x01s\0\0\x01\0\0\0x\0");
        message[at] = value;
        for bytes in [&bytes, &message] {
            let Ok(Incoming { body: Some(mut body), .. }) = parse(bytes) else { continue };
            let _ = body.clone().variant();
            let _ = body.structs(|reader| reader.text().map(drop));
        }
    }
}
