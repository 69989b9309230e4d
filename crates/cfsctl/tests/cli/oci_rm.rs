use composefs_testkit::images::Layout;
use insta::assert_snapshot;

use crate::{
    du::{any_disk, with_images},
    lab::Session,
    oci_pull_plan::several,
};

#[test]
fn tags_go_together_or_not_at_all() {
    let (mut session, _) = with_images();
    let images = session.run(["oci", "images", "--json"]).success().json();
    let two = images["images"].as_array().unwrap().iter().find(|image| image["name"] == "two").unwrap();
    let digest = two["manifest_digest"].as_str().unwrap().to_owned();
    let _ = session.run(["oci", "tag", &digest, "also/two"]).success();
    session.see(["oci", "rm", "other", "nobody"]);
    session.see(["oci", "rm", "other", &digest]);
    session.see(["oci", "rm"]);
    session.see(["oci", "images"]);
    session.see(["oci", "rm", "--dry-run", "other", "other", "two"]);
    session.see(["oci", "rm", "--dry-run", "--all", "other", &format!("@{digest}")]);
    session.see(["oci", "rm", "two"]);
    session.see(["oci", "rm", &digest]);
    let output = any_disk(session.run(["oci", "rm", "--json", "other"]));
    session.add(&output);
    session.see(["oci", "rm", "artifact"]);
    session.see(["gc"]);
    session.see(["oci", "images"]);
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn the_index_beside_a_tag_goes_with_it() {
    let session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    several(&mut layout);
    let pull = ["oci", "pull", "--all-platforms", "--platform=linux/amd64", "oci:layout:several", "it"];
    let _ = session.run(pull).success();
    let _ = session.run(["gc"]).success();
    let manifest = session.run(["oci", "images", "--json"]).success().json()["images"][0]["manifest_digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let _ = session.run(["oci", "tag", &manifest, "same"]).success();
    let all = session.run(["du", "--json"]).success().json();
    assert_eq!(all["images"].as_array().unwrap().len(), 1, "{all}");
    // The other tag keeps the image, and not the index.
    let rest = session.run(["oci", "rm", "--json", "it"]).success().json();
    let collected = session.run(["gc", "--json"]).success().json();
    assert_eq!(rest["freed"]["objects"], collected["objects_removed"]);
    assert!(rest["freed"]["objects"].as_u64().unwrap() > 5, "{rest}");
    assert!(!session.sandbox.path("repo/streams/refs/x-oci-index/it").exists());
    let last = session.run(["oci", "rm", "--json", "same"]).success().json();
    assert_eq!(last["freed"]["objects"], session.run(["gc", "--json"]).success().json()["objects_removed"]);
}

#[test]
fn what_cannot_be_read_does_not_hinder_it() {
    let (mut session, _) = with_images();
    let link = session.sandbox.path("repo/streams/refs/oci/other");
    std::fs::remove_file(std::fs::canonicalize(link).unwrap()).unwrap();
    session.see(["oci", "rm", "one"]);
    session.see(["oci", "rm", "other"]);
    assert_snapshot!(session.text());
}
