//! Beside cfsctl 0.9.4: the same commands, each on its own repository and on the other's; skipped where it is not
//! installed.
// What is compared is handed on, text by text, to functions of one shape.
#![allow(clippy::needless_pass_by_value)]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use composefs_testkit::{Output, Sandbox, peers, project};

use crate::lab::{CFSCTL, Session, unpack};

/// Two programs, each in a directory of its own, with the golden layouts beside them.
struct Pair {
    session: Session,
    theirs: PathBuf,
}

/// Who runs.
#[derive(Clone, Copy)]
enum Who {
    Ours,
    Theirs,
}
use Who::{Ours, Theirs};

impl Pair {
    fn or_skip() -> Option<Self> {
        let theirs = peers::cfsctl_or_skip()?;
        let session = Session::new();
        for name in ["ours", "theirs"] {
            std::fs::create_dir(session.sandbox.path(name)).unwrap();
        }
        unpack("layouts.tar.gz", &session.sandbox.path("layouts"));
        session.tree();
        Some(Self { session, theirs })
    }

    fn sandbox(&self) -> &Sandbox {
        &self.session.sandbox
    }

    /// Runs one program in a directory, `ours` or `theirs`, whose repository is `repo`.
    fn run(&self, who: Who, place: &str, input: Option<&Path>, arguments: &[&str]) -> Output {
        let program = match who {
            Ours => Path::new(CFSCTL),
            Theirs => &self.theirs,
        };
        let run =
            self.sandbox().invocation_of(program).current_dir(self.sandbox().path(place)).args(arguments);
        match input {
            Some(path) => run.stdin(std::fs::read(path).unwrap()).run(),
            None => run.run(),
        }
    }

    /// Runs both, each at home, and compares standard output and exit code; `arrange` forgives what may differ.
    #[track_caller]
    fn alike(&self, arguments: &[&str], arrange: impl Fn(&str) -> String) -> String {
        let repo = [&["--repo", "repo"], arguments].concat();
        self.alike_fed(None, &repo, arrange)
    }

    #[track_caller]
    fn alike_fed(
        &self,
        input: Option<&Path>,
        arguments: &[&str],
        arrange: impl Fn(&str) -> String,
    ) -> String {
        let (ours, theirs) =
            (self.run(Ours, "ours", input, arguments), self.run(Theirs, "theirs", input, arguments));
        let text = |output: &Output| arrange(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(text(&ours), text(&theirs), "ours and theirs of {arguments:?}\n{ours}\n{theirs}");
        assert_eq!(ours.code(), theirs.code(), "ours and theirs of {arguments:?}\n{ours}\n{theirs}");
        text(&ours)
    }

    /// The same, every byte.
    #[track_caller]
    fn same(&self, arguments: &[&str]) -> String {
        self.alike(arguments, str::to_owned)
    }
}

/// Lines in any order: 0.9 lists as the directory gives.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// A table's or a document's rows as a set: commas and rules between them are where the order puts them.
fn rows(text: &str) -> String {
    let lines: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.starts_with(['├', '╞']))
        .map(|line| line.trim_end_matches(',').to_owned())
        .collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

/// The id of a manifest's stream is random in 0.9 where there are two or more layers.
fn without_verity(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("verity ")).collect::<Vec<_>>().join("\n")
}

/// 0.9 leaves two streams for each image pulled; of its objects there are more.
fn without_garbage(text: &str) -> String {
    text.lines().filter(|line| !line.contains("objects")).collect::<Vec<_>>().join("\n")
}

const TAGS: [&str; 4] = ["single", "basic", "shared", "artifact"];

/// Pulls all golden layouts into both repositories.
fn pulled(pair: &Pair, hash: &str, version: &str) {
    pair.same(&[
        "init",
        "--insecure",
        "--algorithm",
        &format!("fsverity-{hash}-12"),
        "--erofs-version",
        version,
    ]);
    for tag in TAGS {
        pair.alike(&["oci", "pull", &format!("oci:../layouts/{tag}:latest"), tag], without_verity);
    }
}

#[test]
fn init() {
    let Some(pair) = Pair::or_skip() else { return };
    for arguments in [
        &["init", "--insecure", "--algorithm", "fsverity-sha256-12"][..],
        &["init", "--insecure", "--algorithm", "fsverity-sha256-12"],
        &["init", "--insecure", "--algorithm", "fsverity-sha256-12", "--ensure"],
        &["init", "--insecure", "--algorithm", "fsverity-sha256-12", "--ensure", "--erofs-version", "2"],
        &["init", "--insecure", "--algorithm", "fsverity-sha512-12"],
        &["init", "--insecure", "--algorithm", "nonsense"],
        &["images"],
        &["images", "--json"],
        &["oci", "images"],
        &["oci", "images", "--json"],
        &["fsck"],
        &["oci", "fsck"],
        &["gc"],
    ] {
        pair.same(arguments);
    }
    let meta =
        |place: &str| std::fs::read_to_string(pair.sandbox().path(place).join("repo/meta.json")).unwrap();
    assert_eq!(meta("ours"), meta("theirs"));
    pair.alike_fed(None, &["init", "--insecure", "other"], str::to_owned);
    pair.alike_fed(None, &["init", "--insecure", "--erofs-version", "2", "second"], str::to_owned);
}

#[test]
fn images_and_layers() {
    let Some(pair) = Pair::or_skip() else { return };
    pulled(&pair, "sha256", "1");
    for arguments in [&["oci", "images"][..], &["oci", "images", "--json"]] {
        pair.alike(arguments, rows);
    }
    for tag in TAGS {
        for arguments in [
            &["oci", "inspect", tag][..],
            &["oci", "inspect", tag, "--manifest"],
            &["oci", "inspect", tag, "--config"],
            &["oci", "dump", tag],
            &["oci", "compute-id", tag],
            &["--erofs-version", "2", "oci", "compute-id", tag],
        ] {
            pair.same(arguments);
        }
    }
    let text = std::fs::read_to_string(project("tests/vectors/repo/expected.tsv")).unwrap();
    let layers = text.lines().filter(|line| {
        line.starts_with("r09-sha256-v1\tstream\toci-layer-") && line.contains("\tocilayer\t")
    });
    let layers: Vec<&str> =
        layers.map(|line| line.split('\t').nth(2).unwrap().strip_prefix("oci-layer-").unwrap()).collect();
    assert_eq!(layers.len(), 5);
    for layer in layers {
        pair.same(&["oci", "layer", layer]);
        pair.same(&["oci", "layer", layer, "--json"]);
        pair.same(&["oci", "layer", layer, "--dumpfile"]);
    }
    let image = pair.same(&["oci", "compute-id", "basic"]);
    pair.alike(&["image-objects", image.trim_end()], sorted);
    pair.same(&["dump-files", image.trim_end(), "/etc", "/usr"]);
    pair.same(&["oci", "linked-erofs-images", image.trim_end()]);
    for arguments in [
        &["oci", "inspect", "none"][..],
        &["oci", "inspect", "@nonsense"],
        &["oci", "untag", "none"],
        &["oci", "dump", "artifact"],
        &["oci", "dump", "none"],
        &["oci", "layer", "sha256:0"],
        &["cat", "none"],
        &["image-objects", "none"],
        &["oci", "pull", "oci:../layouts/none:latest", "x"],
    ] {
        pair.same(arguments);
    }
    let manifest = "sha256:6de6d46ac91b0e91277b1d68bba71ffbb5d7bf3371600d98d8bd65fb747709a2";
    pair.same(&["oci", "tag", manifest, "a/b:c%"]);
    pair.alike(&["oci", "images"], rows);
    pair.same(&["oci", "untag", "a/b:c%"]);
    for arguments in [&["fsck"][..], &["fsck", "--json"], &["oci", "fsck"], &["oci", "fsck", "--json"]] {
        pair.alike(arguments, without_garbage);
    }
    pair.same(&["fsck", "--metadata-only"]);
    // Theirs lets go of what it left behind; from then on the numbers are the same.
    let _ = pair.run(Theirs, "theirs", None, &["--repo", "repo", "gc"]).success();
    for arguments in
        [&["fsck"][..], &["fsck", "--json"], &["gc", "-n"], &["oci", "untag", "shared"], &["gc", "-n"]]
    {
        pair.same(arguments);
    }
    pair.same(&["gc"]);
    pair.same(&["oci", "untag", "basic"]);
    pair.same(&["gc"]);
    pair.same(&["oci", "fsck"]);
}

#[test]
fn directories_and_imports() {
    let Some(pair) = Pair::or_skip() else { return };
    pair.same(&["init", "--insecure", "--algorithm", "fsverity-sha256-12"]);
    for arguments in [
        &["create-image", "../tree", "named"][..],
        &["create-image", "../tree"],
        &["compute-id", "../tree"],
        &["--erofs-version", "2", "compute-id", "../tree"],
        &["--erofs-version", "0", "compute-id", "../tree"],
        &["compute-id", "../tree", "--no-propagate-usr-to-root"],
        &["create-dumpfile", "../tree"],
        &["create-dumpfile", "../tree", "--no-propagate-usr-to-root"],
        &["images"],
        &["images", "--json"],
        &["images", "--no-trunc"],
        &["dump-files", "named", "/etc", "/usr/bin"],
        &["dump-files", "refs/named", "/usr/bin/tool"],
        &["dump-files", "refs/named", "/usr", "/usr/", "usr/share"],
        &["dump-files", "named", "--backing-path-only", "/usr/bin/tool", "/usr/share/small"],
        &["dump-files", "named", "--backing-path-only", "/usr"],
        &["dump-files", "named", "/none"],
        &["create-image", "../none", "x"],
        &["compute-id", "../none"],
    ] {
        pair.same(arguments);
    }
    pair.alike(&["image-objects", "named"], sorted);
    let layer = "sha256:97e03bd09f7813a5e5c7083e7e243839354ef92478800312d93535f49b76380f";
    let tar = pair.sandbox().path(format!("layouts/single/blobs/{}", layer.replace(':', "/")));
    pair.alike_fed(
        Some(&tar),
        &["--repo", "repo", "oci", "import-layer", layer, "some/layer"],
        str::to_owned,
    );
    pair.same(&["cat", "refs/some/layer"]);
    let image = pair.sandbox().path("made.img");
    let made = pair.sandbox().bare(["mkcomposefs", "tree", image.to_str().unwrap()]).success();
    assert!(made.stdout.is_empty());
    pair.alike_fed(Some(&image), &["--repo", "repo", "import-image", "imported"], str::to_owned);
    pair.alike(&["images"], rows);
    pair.same(&["fsck"]);
    pair.same(&["gc"]);
    for hash in ["sha256", "sha512"] {
        pair.alike_fed(None, &["--no-repo", "--hash", hash, "compute-id", "../tree"], str::to_owned);
    }
    pair.alike_fed(None, &["--no-repo", "compute-id", "../tree"], str::to_owned);
}

#[test]
fn the_c_names() {
    let Some(pair) = Pair::or_skip() else { return };
    let dump = project("tests/vectors/erofs/mixed.dump");
    let dump = dump.to_str().unwrap();
    for arguments in [
        &["mkcomposefs", "--from-file", "--print-digest-only", dump][..],
        &["mkcomposefs", "--from-file", "--print-digest", dump, "m.img"],
        &["mkcomposefs", "--from-file", "--min-version=1", "--print-digest", dump, "n.img"],
        &["mkcomposefs", "--print-digest-only", "../tree"],
        &["mkcomposefs", "--print-digest-only", "--use-epoch", "../tree"],
        &["mkcomposefs", "--digest-store=store", "--print-digest", "../tree", "t.img"],
        &["composefs-info", "ls", "t.img"],
        &["composefs-info", "dump", "t.img"],
        &["composefs-info", "ls", "m.img"],
        &["composefs-info", "dump", "m.img"],
        &["composefs-info", "dump", "n.img"],
        &["composefs-info", "missing-objects", "--basedir=store", "t.img"],
        &["composefs-info", "measure-file", "../tree/usr/share/words", "t.img"],
        &["composefs-info", "dump", "none.img"],
        &["mkcomposefs", "none", "x.img"],
    ] {
        pair.alike_fed(None, arguments, str::to_owned);
    }
    for image in ["t.img", "m.img"] {
        pair.alike_fed(None, &["composefs-info", "objects", image], sorted);
        let bytes = |place: &str| std::fs::read(pair.sandbox().path(place).join(image)).unwrap();
        assert!(bytes("ours") == bytes("theirs"), "{image}");
    }
}

/// Each program on the repository that the other made: equal ids, nothing to complain about, before and after either
/// collects garbage.
#[test]
fn each_on_the_others_repository() {
    let Some(pair) = Pair::or_skip() else { return };
    for (hash, version) in [("sha256", "1"), ("sha512", "2")] {
        for name in ["ours/repo", "theirs/repo"] {
            let _ = std::fs::remove_dir_all(pair.sandbox().path(name));
        }
        pulled(&pair, hash, version);
        for place in ["ours", "theirs"] {
            let good = || {
                let mut ids = Vec::new();
                for who in [Ours, Theirs] {
                    let run = |arguments: &[&str]| {
                        pair.run(who, place, None, &[&["--repo", "repo"], arguments].concat())
                            .success()
                            .text()
                            .to_owned()
                    };
                    assert!(run(&["oci", "fsck"]).contains("status: ok"));
                    ids.push(["single", "shared"].map(|tag| run(&["oci", "compute-id", tag])));
                    ids.push(["single", "shared"].map(|tag| {
                        let document = run(&["oci", "inspect", tag]);
                        let line = document.lines().find(|line| line.contains("composefs_erofs")).unwrap();
                        format!("{}\n", line.split('"').nth(3).unwrap())
                    }));
                }
                assert!(ids.windows(2).all(|two| two[0] == two[1]), "{place}: {ids:?}");
            };
            good();
            for who in [Ours, Theirs, Ours] {
                let _ = pair.run(who, place, None, &["--repo", "repo", "gc"]).success();
                good();
            }
            // Either writes into what the other made.
            for (who, tag) in [(Ours, "by-us"), (Theirs, "by-them")] {
                let layout = "oci:../layouts/referrer:image";
                let _ = pair.run(who, place, None, &["--repo", "repo", "oci", "pull", layout, tag]).success();
                good();
            }
            let _ = pair.run(Theirs, place, None, &["--repo", "repo", "oci", "untag", "by-us"]).success();
            let _ = pair.run(Ours, place, None, &["--repo", "repo", "oci", "untag", "by-them"]).success();
            let ours = pair.run(Ours, place, None, &["--repo", "repo", "gc", "-n"]).success();
            let theirs = pair.run(Theirs, place, None, &["--repo", "repo", "gc", "-n"]).success();
            assert_eq!(ours.text(), theirs.text());
            let _ = pair.run(Theirs, place, None, &["--repo", "repo", "gc"]).success();
            good();
        }
    }
}

/// 0.9's collector keeps artifacts about an image that is gone, ours does not; nothing is wrong with what either leaves.
#[test]
fn artifacts_about_an_image() {
    let Some(pair) = Pair::or_skip() else { return };
    let text = std::fs::read_to_string(project("tests/vectors/repo/expected.tsv")).unwrap();
    let artifact = text
        .lines()
        .find(|line| line.starts_with("r09-sha256-referrer\treferrers\t"))
        .and_then(|line| line.split('\t').nth(3))
        .unwrap();
    let repo = pair.sandbox().path("theirs/repo");
    unpack("r09-sha256-referrer.tar.gz", &repo);
    let run = |who, arguments: &[&str]| {
        pair.run(who, "theirs", None, &[&["--repo", "repo"], arguments].concat()).success().text().to_owned()
    };
    let entry = repo.join("streams").join(format!("oci-manifest-{artifact}"));
    let good = || {
        for who in [Ours, Theirs] {
            assert!(run(who, &["oci", "fsck"]).contains("status: ok"));
            assert!(run(who, &["fsck"]).contains("status: ok"));
        }
    };
    for who in [Ours, Theirs] {
        let _ = run(who, &["gc"]);
        assert!(entry.is_symlink(), "the image is there");
        good();
    }
    let _ = run(Theirs, &["oci", "untag", "image"]);
    let _ = run(Theirs, &["gc"]);
    assert!(entry.is_symlink(), "kept by its ref alone");
    good();
    let said = run(Ours, &["gc"]);
    assert!(said.ends_with("Referrers: 1 removed, whose subject is not kept\n"), "{said}");
    assert!(!entry.is_symlink());
    good();
    for who in [Theirs, Ours] {
        assert!(run(who, &["gc"]).starts_with("Objects: 0 removed"));
    }
}

/// The kinds of findings in what a check printed, sorted.
fn kinds(output: &Output) -> Vec<String> {
    let said = format!("{}{}", output.text(), output.talk());
    let kind = |line: &str| line.split_once("fsck: ")?.1.split_once(':').map(|(kind, _)| kind.to_owned());
    let mut kinds: Vec<String> = said.lines().filter_map(kind).collect();
    kinds.sort_unstable();
    kinds
}

/// Both find the same, as often, whatever is damaged. One thing is otherwise: 0.9 overlooks a tag that leads to nothing.
#[test]
fn the_same_is_found_in_damaged_repositories() {
    let Some(pair) = Pair::or_skip() else { return };
    let run =
        |who, arguments: &[&str]| pair.run(who, "theirs", None, &[&["--repo", "repo"], arguments].concat());
    let repo = pair.sandbox().path("theirs/repo");
    let algorithm = "fsverity-sha256-12";
    let _ = run(Theirs, &["init", "--insecure", "--algorithm", algorithm]).success();
    let _ = run(Theirs, &["oci", "pull", "oci:../layouts/single:latest", "single"]).success();
    let _ = run(Theirs, &["gc"]).success();
    let entry = |start: &str| {
        let names = std::fs::read_dir(repo.join("streams")).unwrap().map(|one| one.unwrap().path());
        names.into_iter().find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(start)).unwrap()
    };
    let (manifest, config, layer) = (entry("oci-manifest-"), entry("oci-config-"), entry("oci-layer-"));
    let image = std::fs::read_dir(repo.join("images")).unwrap().next().unwrap().unwrap().path();
    let object = |link: &Path| std::fs::canonicalize(link).unwrap();
    let listed = run(Ours, &["image-objects", image.file_name().unwrap().to_str().unwrap()]).success();
    let file = listed.text().lines().next().unwrap().rsplit([':', '/']).next().unwrap().to_owned();
    let file = repo.join("objects").join(&file[..2]).join(&file[2..]);
    let tag = repo.join("streams/refs/oci/single");
    let copies = pair.sandbox().path("whole");
    let copy = |from: &Path, to: &Path| {
        let _ = std::fs::remove_dir_all(to);
        assert!(std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    copy(&repo, &copies);
    let nonsense = |path: &Path| std::fs::write(path, "nonsense").unwrap();
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    let damages: [(&str, &dyn Fn()); 12] = [
        ("nothing", &|| {}),
        ("a file changed", &|| nonsense(&file)),
        ("a file gone", &|| remove(&file)),
        ("a foreign name", &|| nonsense(&file.with_file_name("zz"))),
        ("a layer's stream changed", &|| nonsense(&object(&layer))),
        ("a layer's stream gone", &|| remove(&object(&layer))),
        ("a layer's entry gone", &|| remove(&layer)),
        ("an entry that is a file", &|| {
            remove(&layer);
            nonsense(&layer);
        }),
        ("the config's stream changed", &|| nonsense(&object(&config))),
        ("the manifest's stream changed", &|| nonsense(&object(&manifest))),
        ("the image changed", &|| nonsense(&object(&image))),
        ("a tag to nothing", &|| remove(&manifest)),
    ];
    let mut compared = Vec::new();
    for (what, damage) in damages {
        copy(&copies, &repo);
        assert!(tag.is_symlink());
        damage();
        let found = [Ours, Theirs].map(|who| kinds(&run(who, &["oci", "fsck"])));
        compared.push((what, found));
    }
    let differ: Vec<_> = compared.iter().filter(|(_, [ours, theirs])| ours != theirs).collect();
    let names: Vec<&str> = differ.iter().map(|(what, _)| *what).collect();
    assert_eq!(names, ["a tag to nothing"], "{differ:#?}");
    let found = |what: &str| compared.iter().find(|(name, _)| *name == what).unwrap().1[0].len();
    assert_eq!(found("nothing"), 0);
    assert!(compared.iter().all(|(what, [ours, _])| *what == "nothing" || !ours.is_empty()), "{compared:#?}");
}
