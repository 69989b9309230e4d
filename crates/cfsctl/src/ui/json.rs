//! JSON on stdout: pretty, one final newline.

use std::io::Write as _;

use serde::Serialize;

/// Prints a document.
pub(crate) fn print(document: &impl Serialize) -> anyhow::Result<()> {
    let mut out = super::out();
    serde_json::to_writer_pretty(&mut out, document)?;
    writeln!(out)?;
    Ok(())
}
