//! What registries put into headers and answer instead of documents: no input panics, and what is understood is bounded.
//!
//! The input is lines: values of `WWW-Authenticate`; each is also taken for the document of a manifest.
#![allow(clippy::unwrap_used, unreachable_pub)]

use composefs_oci::{
    model::media_type::{is_index, is_manifest, of_document},
    transport::registry::challenge::{Challenge, best},
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    if let Some(Challenge::Bearer { realm, service, scopes }) = best(lines.iter().copied()) {
        assert!(realm.len() + service.map_or(0, |service| service.len()) <= data.len());
        assert!(scopes.iter().map(String::len).sum::<usize>() <= data.len());
        assert!(scopes.iter().all(|scope| !scope.is_empty() && !scope.contains(' ')));
    }
    // A Bearer in a line is preferred wherever it stands.
    let alone = |line: &[u8]| matches!(best([line]), Some(Challenge::Bearer { .. }));
    let any = lines.iter().any(|line| alone(line));
    assert_eq!(any, matches!(best(lines.iter().copied()), Some(Challenge::Bearer { .. })));

    for line in lines {
        let said = std::str::from_utf8(line.get(..64.min(line.len())).unwrap()).ok();
        for said in [None, said, Some("application/vnd.oci.image.index.v1+json")] {
            if let Ok(kind) = of_document(said, line) {
                assert!(is_index(&kind) != is_manifest(&kind));
            }
        }
    }
}
