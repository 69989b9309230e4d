use rustix::fs::CWD;

use super::*;
use crate::{
    digest::Algorithm,
    name::{RefName, StreamName},
    progress::Silent,
    repo::{InitOptions, OpenOptions, Wait, init},
};

#[test]
fn a_plan_as_a_document() {
    let directory = tempfile::tempdir().unwrap();
    init(CWD, directory.path(), &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    let repository = Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap();
    let writer = repository.writer().unwrap();
    let blob = writer.store_bytes(b"no splitstream, and a ref leads to it").unwrap().id;
    let garbage = writer.store_bytes(b"garbage").unwrap().id;
    let name = StreamName::new("kept").unwrap();
    let mut commit = writer.begin();
    commit.stream_ref(RefName::new("r").unwrap(), &name).stream(name, blob);
    commit.stream(StreamName::new("loose").unwrap(), garbage).image(garbage);
    commit.finish().unwrap();
    drop(writer);

    let plan = GcPlan::new(&repository, &GcOptions::default().force(true)).unwrap();
    let json = serde_json::to_string_pretty(&plan).unwrap();
    let expected = format!(
        r#"{{
  "objects": [
    {{
      "id": "{garbage}",
      "size": 7
    }}
  ],
  "names": {{
    "images": [
      "images/{garbage}"
    ],
    "streams": [
      "streams/loose"
    ],
    "image_refs": [],
    "stream_refs": [],
    "mounts": [],
    "pulls": [],
    "broken_images": 0,
    "broken_streams": 0
  }},
  "temporaries": [],
  "spared": 0,
  "foreign": [],
  "unreadable": [
    "{blob}: stream {blob}"
  ]
}}"#
    );
    assert_eq!(json, expected);
    assert_eq!(plan.to_string(), "Objects: 1 removed (7 bytes)");
    let report = plan.apply(&repository.sweeper(Wait::Forever).unwrap(), &Silent).unwrap();
    assert_eq!(report.to_string(), "Objects: 1 removed (7 bytes)\nPruned symlinks: 1 images, 1 streams");

    // Without force the damaged stream keeps everything.
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    assert!(!plan.is_complete() && plan.objects.is_empty());
}
