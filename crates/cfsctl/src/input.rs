//! Whole files that are named on the command line, up to a limit each.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context as _, bail};

/// The largest dumpfile in bytes: some times the dumpfile of the largest image.
pub(crate) const DUMPFILE_MAX: u64 = 4 << 30;

/// Reads a file of at most `max` bytes, `-` for stdin.
pub(crate) fn read(path: &Path, max: u64) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        return read_from(io::stdin().lock(), max).context("read stdin");
    }
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    read_from(file, max).with_context(|| format!("read {}", path.display()))
}

fn read_from(input: impl Read, max: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    // What is cut at the end of a line would be another tree.
    if bytes.len() as u64 > max {
        bail!("more than {max} bytes");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_cut_silently() {
        assert_eq!(read_from(&b"12345"[..], 5).unwrap(), b"12345");
        assert!(read_from(&b"12345\n6"[..], 5).is_err());
        assert!(read_from(io::repeat(1), 5).is_err());
    }
}
