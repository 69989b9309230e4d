//! DER, as much of it as certificates and signatures need: values one after the other, their lengths checked.

/// Why bytes are no DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the DER that is expected, at {0}")]
pub struct DerError(pub(super) &'static str);

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// Returns the tag `[number]` of a structured value.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// A value and the bytes it came from.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) contents: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

/// Values that stand one after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the next value, whatever it is.
    pub(super) fn any(&mut self, what: &'static str) -> Result<Value<'a>, DerError> {
        let all = self.0;
        let error = || DerError(what);
        let (&[tag, length], rest) = all.split_first_chunk().ok_or_else(error)?;
        // Of one byte, and of a tag number below 31.
        if tag & 0x1f == 0x1f {
            return Err(error());
        }
        let (size, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f)).ok_or_else(error)?;
                let size = bytes.iter().fold(0_usize, |size, byte| size << 8 | usize::from(*byte));
                // The shortest form alone is DER.
                let shortest = size >= 0x80 && bytes.first() != Some(&0);
                if !shortest {
                    return Err(error());
                }
                (size, rest)
            }
            _ => return Err(error()),
        };
        let (contents, rest) = rest.split_at_checked(size).ok_or_else(error)?;
        let (whole, _) = all.split_at_checked(all.len().saturating_sub(rest.len())).ok_or_else(error)?;
        self.0 = rest;
        Ok(Value { tag, contents, whole })
    }

    /// Reads the next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8, what: &'static str) -> Result<Value<'a>, DerError> {
        let value = self.any(what)?;
        if value.tag == tag { Ok(value) } else { Err(DerError(what)) }
    }

    /// Reads the next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8, what: &'static str) -> Result<Option<Value<'a>>, DerError> {
        if self.0.first() == Some(&tag) { self.any(what).map(Some) } else { Ok(None) }
    }

    /// Reads the values in the next one, which must have this tag.
    pub(super) fn inside(&mut self, tag: u8, what: &'static str) -> Result<Reader<'a>, DerError> {
        self.expect(tag, what).map(|value| Reader(value.contents))
    }

    /// Ends where nothing follows.
    pub(super) fn finish(self, what: &'static str) -> Result<(), DerError> {
        if self.0.is_empty() { Ok(()) } else { Err(DerError(what)) }
    }
}

/// Writes a value whose contents are these parts.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    match u8::try_from(size) {
        Ok(short @ 0..=0x7f) => bytes.push(short),
        _ => {
            let long: Vec<u8> = size.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            // A usize has eight bytes.
            bytes.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            bytes.extend(long);
        }
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}
