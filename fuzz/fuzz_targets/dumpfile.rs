//! Dumpfiles: no input panics, and printing what was parsed gives a fixed point.
#![allow(clippy::expect_used, unreachable_pub)]

use composefs::{digest::Algorithm, dumpfile};

/// Runs one input.
pub fn run(data: &[u8]) {
    for algorithm in Algorithm::ALL {
        let Ok(parsed) = dumpfile::parse(data, algorithm) else { continue };
        let print = |tree| {
            let mut out = Vec::new();
            dumpfile::write(tree, &mut out).expect("memory takes everything");
            out
        };
        let once = print(&parsed.tree);
        let again = dumpfile::parse(&once, algorithm).expect("our own output parses");
        assert_eq!(print(&again.tree), once);
        assert_eq!(parsed.primary_names.len(), again.primary_names.len());
    }
}
