//! What a plan says, and that a pull does just that.

use composefs::progress::Silent;
use composefs_oci::{
    pull::{LayerState, PullOptions, PullPlan},
    transport,
};
use composefs_testkit::images::{Compression, Image};

use crate::lab::{Heard, Lab, layer};

fn plan(lab: &Lab, with_repository: bool) -> PullPlan {
    let reference = lab.layout.reference("x").parse().unwrap();
    let source = transport::open(&reference, &transport::SourceOptions::default()).unwrap();
    let repo = with_repository.then_some(&*lab.writer);
    PullPlan::new(repo, source.as_ref(), &PullOptions::default(), &Silent).unwrap()
}

#[test]
fn bytes_to_come_are_the_bytes_that_come() {
    let mut lab = Lab::new();
    let layers = [
        layer(1, 300_000, Compression::Gzip),
        layer(2, 5_000, Compression::Zstd),
        layer(3, 50, Compression::Plain),
    ];
    // One of them is here from another image, one stands twice in this one.
    lab.pull_image("other", &Image::new([layers[1].clone()])).unwrap();
    let image = Image::new([&layers[0], &layers[1], &layers[2], &layers[0]].map(Clone::clone));
    let written = lab.layout.image("x", &image);
    let config = std::fs::metadata(lab.layout.blob_path(&written.config.digest)).unwrap().len();

    let sizes = layers.each_ref().map(|layer| layer.blob.len() as u64);
    let without = plan(&lab, false);
    assert_eq!(without.layers_to_come().count(), 3);
    assert_eq!(without.bytes_to_come(), sizes.iter().sum::<u64>() + config);

    let before = plan(&lab, true);
    let states: Vec<bool> = before.layers().iter().map(|layer| layer.state() == LayerState::Comes).collect();
    assert_eq!(states, [true, false, true, true]);
    assert_eq!(before.layer_bytes_to_come(), sizes[0] + sizes[2]);
    assert!(!before.is_whole() && before.config_comes());

    let heard = Heard::default();
    lab.pull_as(&lab.layout.reference("x"), &PullOptions::default().tag("x"), &heard).unwrap();
    assert_eq!(heard.starting("plan"), [format!("plan 2 layer {}", sizes[0] + sizes[2])]);
    assert_eq!(heard.starting("begin layer").len(), 2);
    // What is here already is called by the digest of the blob, as what comes is.
    assert_eq!(heard.starting("skipped"), [format!("skipped layer {}", layers[1].digest)]);

    let after = plan(&lab, true);
    assert!(after.is_whole());
    assert_eq!((after.bytes_to_come(), after.layers_to_come().count()), (0, 0));
    let text = serde_json::to_value(&after).unwrap();
    assert_eq!(text["complete"], true);
    assert_eq!(text["layers"][0]["state"], "present");
    assert_eq!(text["layers"][0]["diff_id"], layers[0].diff_id);
}
