//! Asking at the terminal for what nobody else may see.

use std::io::{self, BufRead, Write as _};

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// The longest password that is taken, in bytes.
const MAX: usize = 4096;

/// Asks on stderr and reads a line from the terminal at stdin, which shows nothing of it.
pub(crate) fn password(prompt: &str) -> anyhow::Result<String> {
    let stdin = io::stdin();
    eprint!("{prompt}");
    io::stderr().flush()?;
    let before = tcgetattr(&stdin).context("ask for a password")?;
    // Without signals from keys, so that Ctrl-C cannot leave the terminal mute.
    let mut mute = before.clone();
    mute.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
    mute.special_codes[SpecialCodeIndex::VMIN] = 1;
    mute.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(&stdin, OptionalActions::Flush, &mute).context("ask for a password")?;
    let _restore = Restore { before };
    let line = read_line(stdin.lock());
    eprintln!();
    line
}

struct Restore {
    before: Termios,
}

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Reads bytes as keys: the end of line, correction, and the wish to leave.
fn read_line(input: impl BufRead) -> anyhow::Result<String> {
    // With room for all of it: what grows leaves copies behind.
    let mut line = Vec::with_capacity(MAX + 1);
    for byte in input.bytes() {
        match byte? {
            b'\r' | b'\n' => break,
            0x03 | 0x1c => anyhow::bail!("no password was given"),
            // Ctrl-D
            0x04 => {
                anyhow::ensure!(!line.is_empty(), "no password was given");
                break;
            }
            0x08 | 0x7f => {
                // A character of UTF-8 goes as a whole.
                while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
            }
            // Ctrl-U
            0x15 => line.clear(),
            byte => line.push(byte),
        }
        anyhow::ensure!(line.len() <= MAX, "a password longer than {MAX} bytes");
    }
    String::from_utf8(line).ok().context("the password is no UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let line = |bytes: &[u8]| read_line(bytes).ok();
        assert_eq!(line(b"secret\nmore"), Some("secret".into()));
        assert_eq!(line("sä\x7f\x7fxy\r".as_bytes()), Some("xy".into()));
        assert_eq!(line(b"wrong\x15right\n"), Some("right".into()));
        assert_eq!(line(b"abc\x03"), None);
        assert_eq!(line(b"\x04"), None);
        assert_eq!(line(b"abc\x04"), Some("abc".into()));
        assert_eq!(line(&[b'x'; MAX + 1]), None);
    }
}
