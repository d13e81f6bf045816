//! As much of the D-Bus wire format as asking systemd needs: method calls out, replies in.
//!
//! Format: "D-Bus Specification", chapter "Message Protocol". Everything read is bounds-checked; what
//! does not fit is [`Malformed`].

/// Bytes are not what the format or the asked method's signature says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed answer")]
pub(crate) struct Malformed;

/// Longest message taken.
pub(super) const MESSAGE_CAP: usize = 1 << 20;
/// Fixed part in front of the header's fields.
pub(super) const FIXED: usize = 16;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

/// A method to call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) arguments: &'a [Argument<'a>],
}

/// An argument of a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument<'a> {
    Text(&'a str),
    Texts(&'a [&'a str]),
}

impl Call<'_> {
    /// Appends the message, in little-endian byte order.
    pub(super) fn write(&self, serial: u32, out: &mut Vec<u8>) {
        let mut body = Writer::default();
        let mut signature = String::new();
        for argument in self.arguments {
            match argument {
                Argument::Text(text) => {
                    signature.push('s');
                    body.text(text);
                }
                Argument::Texts(texts) => {
                    signature.push_str("as");
                    body.array(4, |body| texts.iter().for_each(|text| body.text(text)));
                }
            }
        }
        let mut message = Writer::default();
        message.bytes.extend_from_slice(&[b'l', METHOD_CALL, 0, 1]);
        message.number(u32::try_from(body.bytes.len()).unwrap_or(u32::MAX));
        message.number(serial);
        message.array(8, |fields| {
            fields.field(FIELD_PATH, "o", self.path);
            fields.field(FIELD_INTERFACE, "s", self.interface);
            fields.field(FIELD_MEMBER, "s", self.member);
            fields.field(FIELD_DESTINATION, "s", self.destination);
            if !signature.is_empty() {
                fields.field(FIELD_SIGNATURE, "g", &signature);
            }
        });
        message.align(8);
        out.extend_from_slice(&message.bytes);
        out.extend_from_slice(&body.bytes);
    }
}

/// Writes values at their alignment, which counts from the message's beginning; bodies and headers both
/// begin at a multiple of eight.
#[derive(Debug, Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.bytes.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(signature.as_bytes());
        self.bytes.push(0);
    }

    /// An array whose elements are aligned to `element`; the padding before the first does not count.
    fn array(&mut self, element: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let length_at = self.bytes.len() - 4;
        self.align(element);
        let start = self.bytes.len();
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn field(&mut self, code: u8, kind: &str, value: &str) {
        self.align(8);
        self.bytes.push(code);
        self.signature(kind);
        if kind == "g" { self.signature(value) } else { self.text(value) }
    }
}

/// Length of the whole message that `fixed` begins.
pub(super) fn message_length(fixed: &[u8; FIXED]) -> Result<usize, Malformed> {
    let mut reader = Reader::new(fixed, fixed[0])?;
    reader.at = 4;
    let body = reader.number()? as usize;
    reader.at = 12;
    let fields = reader.number()? as usize;
    if body > MESSAGE_CAP || fields > MESSAGE_CAP {
        return Err(Malformed);
    }
    Ok(FIXED + fields.next_multiple_of(8) + body)
}

/// A message that came in.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    /// Serial of the call that it answers; 0 for signals and calls.
    pub(super) answers: u32,
    /// What the method returned, or that it failed.
    pub(super) body: Option<Reader<'a>>,
}

/// Takes a whole message apart.
pub(super) fn parse(message: &[u8]) -> Result<Incoming<'_>, Malformed> {
    let (order, kind) = match message {
        [order, kind, ..] => (*order, *kind),
        _ => return Err(Malformed),
    };
    let mut reader = Reader::new(message, order)?;
    reader.at = 12;
    let fields = reader.number()? as usize;
    let end = FIXED.checked_add(fields).filter(|end| *end <= message.len()).ok_or(Malformed)?;
    let mut answers = 0;
    while reader.at < end {
        reader.align(8);
        let code = reader.byte()?;
        match (reader.signature()?, code) {
            ("u", FIELD_REPLY_SERIAL) => answers = reader.number()?,
            ("u", _) => drop(reader.number()?),
            ("s" | "o", _) => drop(reader.text()?),
            ("g", _) => drop(reader.signature()?),
            _ => return Err(Malformed),
        }
    }
    let start = end.next_multiple_of(8);
    let body = Reader::new(message.get(start..).ok_or(Malformed)?, order)?;
    Ok(match kind {
        METHOD_RETURN => Incoming { answers, body: Some(body) },
        ERROR => Incoming { answers, body: None },
        _ => Incoming { answers: 0, body: None },
    })
}

/// Reads values at their alignment.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], order: u8) -> Result<Self, Malformed> {
        let big_endian = match order {
            b'l' => false,
            b'B' => true,
            _ => return Err(Malformed),
        };
        Ok(Self { bytes, at: 0, big_endian })
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(Malformed)
    }

    pub(super) fn number(&mut self) -> Result<u32, Malformed> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub(super) fn long(&mut self) -> Result<u64, Malformed> {
        self.align(8);
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed)?;
        Ok(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// A string or an object path.
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.number()? as usize;
        self.ended(length)
    }

    fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }

    fn ended(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)?;
        if self.byte()? == 0 { Ok(text) } else { Err(Malformed) }
    }

    /// Reads an array of structs with `element` until its end.
    pub(super) fn structs(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let length = self.number()? as usize;
        self.align(8);
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(Malformed)?;
        while self.at < end {
            self.align(8);
            let before = self.at;
            element(self)?;
            if self.at > end || self.at == before {
                return Err(Malformed);
            }
        }
        Ok(())
    }

    /// A variant of one of the types that properties of units have.
    pub(super) fn variant(&mut self) -> Result<Value<'a>, Malformed> {
        match self.signature()? {
            "s" | "o" => Ok(Value::Text(self.text()?)),
            "u" => Ok(Value::Number(u64::from(self.number()?))),
            "t" => Ok(Value::Number(self.long()?)),
            _ => Err(Malformed),
        }
    }
}

/// A property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(u64),
}

#[cfg(test)]
mod tests;
