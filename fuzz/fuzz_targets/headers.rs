//! Headers of registries that say how to go on: no input panics, and what is understood can be.
//!
//! The input is lines, each taken for every kind of header.
#![allow(unreachable_pub)]

use std::time::{Duration, SystemTime};

use composefs_oci::transport::registry::header::{content_range, next_page, retry_after, uploaded};

/// Runs one input.
pub fn run(data: &[u8]) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for line in data.split(|&byte| byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        if let Some(part) = content_range(line) {
            assert!(part.range.is_none_or(|(first, last)| first <= last));
            if let (Some((_, last)), Some(total)) = (part.range, part.total) {
                assert!(last < total);
            }
        }
        assert_ne!(uploaded(line), Some(1), "a last byte of 0 means nothing");
        if let Some(page) = next_page(line) {
            assert!(line.contains(page) && line.to_ascii_lowercase().contains("next"));
        }
        if let (Some(pause), Ok(seconds)) = (retry_after(line, now), line.trim().parse()) {
            assert_eq!(pause, Duration::from_secs(seconds));
        }
    }
}
