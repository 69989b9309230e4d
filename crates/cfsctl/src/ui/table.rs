//! Columns on stdout.

use comfy_table::{Table, presets::UTF8_FULL};

/// Makes a table as wide as its contents.
pub(crate) fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL).set_header(header);
    table
}

/// The first twelve characters of a digest.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
