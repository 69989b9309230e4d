//! gzip: any number of members, zeros after the last.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::Input as _;

/// The contents of all members, one after the other.
pub(super) struct Members<R: BufRead> {
    state: State<R>,
}

enum State<R> {
    Member(Box<GzDecoder<R>>),
    /// Between two members.
    Between(R),
    End,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { state: State::Member(Box::new(GzDecoder::new(input))) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.state, State::End) {
                State::Member(mut decoder) => {
                    let got = decoder.read(buffer)?;
                    if got > 0 {
                        self.state = State::Member(decoder);
                        return Ok(got);
                    }
                    self.state = State::Between(decoder.into_inner());
                }
                State::Between(mut input) => {
                    if input.skip_zeros()? {
                        return Ok(0);
                    }
                    if !input.fill_buf()?.starts_with(&[0x1f]) {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "after the last gzip member stand bytes that are neither a member nor zeros",
                        ));
                    }
                    self.state = State::Member(Box::new(GzDecoder::new(input)));
                }
                State::End => return Ok(0),
            }
        }
    }
}
