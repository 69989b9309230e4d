use super::*;
use crate::digest::{Algorithm, ObjectId};

#[test]
fn lines_of_all_kinds() {
    let id = ObjectId::from_bytes(Algorithm::Sha256, &[0xab; 32]).unwrap();
    let hex = "ab".repeat(32);
    let detail = || "no such thing".to_owned();
    let reason = || Reason::from(detail());
    let subject = Subject::Temporary { path: "P".to_owned() };
    let sha = |algorithm| VerityAlgorithm(algorithm);
    for (fault, line) in [
        (Fault::MetadataParse(detail()), "metadata-parse-failed: P: no such thing".to_owned()),
        (
            Fault::MetadataAlgorithm { expected: sha(Algorithm::Sha256), opened: sha(Algorithm::Sha512) },
            "metadata-algorithm-mismatch: P: expected fsverity-sha256-12, repository opened as fsverity-sha512-12"
                .to_owned(),
        ),
        (Fault::ObjectInvalidName(detail()), "object-invalid-name: P: no such thing".to_owned()),
        (Fault::ObjectOpen(reason()), "object-open-failed: P: no such thing".to_owned()),
        (Fault::ObjectDigestMismatch(id), format!("object-digest-mismatch: P: measured {hex}")),
        (Fault::ObjectVerity(reason()), "object-verity-failed: P: no such thing".to_owned()),
        (Fault::ObjectVerityMissing, "object-verity-missing: P".to_owned()),
        (Fault::EntryNotSymlink, "entry-not-symlink: P".to_owned()),
        (Fault::BrokenSymlink, "broken-symlink: P".to_owned()),
        (Fault::Stat(reason()), "stat-failed: P: no such thing".to_owned()),
        (Fault::UnexpectedFileType("Fifo"), "unexpected-file-type: P: Fifo".to_owned()),
        (Fault::StreamOpen(reason()), "stream-open-failed: P: no such thing".to_owned()),
        (Fault::StreamRead(reason()), "stream-read-failed: P: no such thing".to_owned()),
        (Fault::MissingObjectRef(id), format!("missing-object-ref: P: {hex}")),
        (
            Fault::MissingNamedRef { name: "config:x".to_owned(), id },
            format!("missing-named-ref: P: ref config:x: {hex}"),
        ),
        (Fault::ObjectCheck { id, detail: reason() }, format!("object-check-failed: P: {hex}: no such thing")),
        (Fault::ImageOpen(reason()), "image-open-failed: P: no such thing".to_owned()),
        (Fault::ImageRead(reason()), "image-read-failed: P: no such thing".to_owned()),
        (Fault::ImageInvalid(detail()), "image-invalid: P: no such thing".to_owned()),
        (Fault::ImageMissingObject(id), format!("image-missing-object: P: {hex}")),
    ] {
        let finding = Finding::new(subject.clone(), fault);
        assert_eq!(finding.to_string(), format!("fsck: {line}"));
        assert_eq!(finding.level, Level::Error);
        assert!(!finding.remedy.to_string().is_empty());
    }
}
