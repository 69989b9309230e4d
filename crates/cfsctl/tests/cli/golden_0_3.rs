//! What cfsctl 0.3.0 said about its repository (tests/vectors/repo/expected03.tsv), for the verbs that we share.

use composefs_testkit::project;

use crate::lab::{Session, hex, sha256, unpack};

fn rows() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(project("tests/vectors/repo/expected03.tsv")).unwrap();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn reading_says_the_same_and_changes_nothing() {
    let session = Session::new();
    unpack("r03-sha256.tar.gz", &session.sandbox.repo());
    let before = session.repository_state();
    let mut compared = 0;
    for row in rows() {
        let row: Vec<&str> = row.iter().map(String::as_str).collect();
        match row[0] {
            "cat" => {
                let output = session.run(["--insecure", "cat", row[1]]).success();
                assert_eq!(
                    hex(&sha256(&output.stdout)),
                    row[1],
                    "the name of a stream is the digest of its contents"
                );
            }
            "image-objects" => {
                let output = session.run(["--insecure", "image-objects", row[1]]).success();
                assert_eq!(output.text().lines().count().to_string(), row[3]);
            }
            _ => continue,
        }
        compared += 1;
    }
    assert_eq!(compared, 6);
    // 0.3 takes GNU's long names with the NUL that ends them. Such an image is read, and called what it is.
    let fsck = session.run(["--insecure", "fsck"]).exited(1);
    assert!(fsck.text().contains("streams: 11/11 ok\nimages: 2/3 ok\nstatus: 1 error(s)\n"), "{fsck}");
    assert!(fsck.text().contains("image-invalid: images/883bdc0c6ca2"), "{fsck}");
    assert_eq!(session.repository_state(), before);
}

/// Configs and layers of 0.3 are found by their bare digests, and by its refs.
#[test]
fn trees_of_its_configs() {
    let session = Session::new();
    unpack("r03-sha256.tar.gz", &session.sandbox.repo());
    let config = "4e957afbac1f16274322410fe45d35a63cf122d0c52d8df2705d3b192d82c250";
    let run = |arguments: &[&str]| {
        session.run([&["--insecure"][..], arguments].concat()).success().text().to_owned()
    };
    // What 0.9's own repository says of the same image in format 2, by today's rules.
    assert_eq!(
        run(&["oci", "compute-id", config]),
        "d0d8d01b0e24d13d6f216cc76481562a018eea1ddfa8b07dbdb4c750033ac61b\n"
    );
    assert_eq!(run(&["oci", "dump", config]), run(&["oci", "dump", "refs/img/single"]));
    let layer = "97e03bd09f7813a5e5c7083e7e243839354ef92478800312d93535f49b76380f";
    assert!(run(&["oci", "ls-layer", layer]).lines().count() > 3);
}

/// The same config sealed by us: the same label, hence the same sealed config. The other two images of the repository
/// have a name that 0.3 ends by a NUL and we don't.
#[test]
fn sealing_gives_the_same_config() {
    let session = Session::new();
    unpack("r03-sha256.tar.gz", &session.sandbox.repo());
    let rows = rows();
    let row = rows.iter().find(|row| row[0] == "oci seal" && row[1].starts_with("4e957afb")).unwrap();
    let output = session.run(["--insecure", "-q", "oci", "seal", &row[1]]).success();
    assert_eq!(output.text().lines().next(), row[3].split(';').next());
}
