//! What cfsctl 0.9.4 said about its repositories (tests/vectors/repo/expected.tsv), said by us.

use composefs_testkit::project;

use crate::lab::{Session, hex, sha256, unpack};

fn rows(repository: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(project("tests/vectors/repo/expected.tsv")).unwrap();
    let rows = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let rows: Vec<Vec<String>> =
        rows.filter(|row| row[0] == repository).map(|row| row[1..].to_vec()).collect();
    assert!(!rows.is_empty(), "{repository}");
    rows
}

fn check(repository: &str) -> usize {
    let session = Session::new();
    unpack(&format!("{repository}.tar.gz"), &session.sandbox.repo());
    let text = |arguments: &[&str]| session.run(arguments).success().text().to_owned();
    let images = session.run(["oci", "images", "--json"]).success().json();
    let rows = rows(repository);
    let mut compared = rows.len();
    for row in &rows {
        let row: Vec<&str> = row.iter().map(String::as_str).collect();
        match row[0] {
            "oci-image" => {
                let found = images["images"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|image| image["name"] == row[1])
                    .unwrap();
                assert_eq!(found["manifest_digest"], row[2]);
                assert_eq!(found["is_container"], row[3] == "True");
                assert_eq!((&found["architecture"], &found["os"]), (&row[4].into(), &row[5].into()));
                assert_eq!(found["layer_count"].to_string(), row[6]);
            }
            "compute-id" => {
                let (version, xattrs) = row[2].split_once('+').unwrap_or((row[2], "allowlist-only"));
                let version = version.trim_start_matches('v');
                let id = text(&["--erofs-version", version, "oci", "compute-id", "--xattrs", xattrs, row[1]]);
                assert_eq!(id.trim_end(), row[3], "{row:?}");
            }
            "dump" => {
                let dump = text(&["oci", "dump", row[1]]);
                assert_eq!(dump.lines().count().to_string(), row[2], "{row:?}");
                assert_eq!(hex(&sha256(dump.as_bytes())), row[3], "{row:?}");
            }
            "stream" => {
                let output = session.run(["cat", row[1]]).success();
                assert_eq!(
                    (output.stdout.len().to_string().as_str(), hex(&sha256(&output.stdout))),
                    (row[4], row[6])
                );
            }
            "image" => {
                let listed = text(&["image-objects", row[1]]);
                let mut lines: Vec<&str> = listed.lines().collect();
                lines.sort_unstable();
                assert_eq!(lines.len().to_string(), row[2], "{row:?}");
                // The vectors join lines with or without a last newline, by their kind.
                let joined = lines.join("\n");
                let digests = [sha256(joined.as_bytes()), sha256(format!("{joined}\n").as_bytes())];
                assert!(digests.iter().any(|digest| hex(digest) == row[3]), "{row:?}");
            }
            "images-ref" => {
                let named = session.run(["images", "--json"]).success().json();
                let named =
                    named["images"].as_array().unwrap().iter().find(|image| image["name"] == row[1]).unwrap();
                assert_eq!(named["digest"], row[2].rsplit('/').next().unwrap());
            }
            "referrers" => {
                let inspected = session.run(["oci", "inspect", &format!("@{}", row[1])]).success().json();
                let list: Vec<&str> = inspected["referrers"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(|one| one.as_str())
                    .collect();
                assert_eq!(list.join(","), row[2..].join(","));
            }
            "fsck" => {
                let found = session.run(["oci", "fsck", "--json"]).success().json();
                assert_eq!(found["ok"], row[2] == "True", "{found}");
                let counts = [
                    &found["images_checked"],
                    &found["repo"]["objects_checked"],
                    &found["repo"]["streams_checked"],
                    &found["repo"]["images_checked"],
                ];
                assert_eq!(counts.map(ToString::to_string), [row[3], row[4], row[5], row[6]], "{row:?}");
            }
            _ => compared -= 1,
        }
    }
    compared + garbage(&session, &rows)
}

/// The steps that delete, in the end and in order.
fn garbage(session: &Session, rows: &[Vec<String>]) -> usize {
    let steps: Vec<_> = rows.iter().filter(|row| row[0] == "gc-step").collect();
    for row in &steps {
        if row[2] == "objects left" {
            let left = session.run(["fsck", "--json"]).success().json()["objects_checked"].to_string();
            assert_eq!(left, row[3]);
        } else {
            let output = session.run(row[2].split(' ')).success();
            assert_eq!(output.text().trim_end().replace('\n', "; "), row[3], "{row:?}");
        }
    }
    steps.len()
}

#[test]
fn one_repository_of_every_hash_and_format() {
    for (repository, facts) in [("r09-sha256-v1", 59), ("r09-sha512-v2", 40)] {
        let compared = check(repository);
        assert!(compared >= facts, "{repository}: {compared}");
    }
}

#[test]
fn one_repository_of_every_other_hash_and_format() {
    for repository in ["r09-sha256-v2", "r09-sha512-v1"] {
        assert!(check(repository) >= 40);
    }
}

#[test]
fn two_formats_names_referrers_and_the_old_header() {
    for (repository, facts) in [
        ("r09-sha256-dual", 12),
        ("r09-sha256-names", 4),
        ("r09-sha256-referrer", 14),
        ("old-header-sha256", 11),
    ] {
        let compared = check(repository);
        assert!(compared >= facts, "{repository}: {compared}");
    }
}
