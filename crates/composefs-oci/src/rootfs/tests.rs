#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::{collections::HashMap, fs, path::PathBuf};

use composefs::{
    digest::{Algorithm, object_id_of},
    dumpfile,
    erofs::{self, FormatVersion, WriteOptions},
    filetree::{TransformOptions, XattrMode},
};
use composefs_tar::{Event, Options, Parser, build::Archive, build::HeaderBuilder};
use proptest::prelude::*;

use super::{parent::SYMLINKS_MAX, *};

const STRICT: MergeOptions = MergeOptions { mode: MergeMode::Strict, rules: Rules::Current };
const V03: MergeOptions = MergeOptions { mode: MergeMode::Lenient, rules: Rules::V03 };

/// Merges archives, objects named by `algorithm`.
fn merge_tars<'a>(
    tars: impl IntoIterator<Item = &'a [u8]>,
    algorithm: Algorithm,
    options: MergeOptions,
) -> Result<FileTree, MergeError> {
    let mut merger = Merger::new(options);
    for mut tar in tars {
        merger.begin_layer();
        let mut parser = Parser::new(Options::default());
        let mut open = None;
        while let Some(event) = parser.parse(&mut tar).unwrap() {
            match event {
                Event::Inline(_) => {}
                Event::Member(member) => merger.apply(member.entry, None)?,
                Event::Begin(member) => open = Some((member.entry, Vec::new())),
                Event::Content(bytes) => open.as_mut().unwrap().1.extend_from_slice(bytes),
                Event::End => {
                    let (entry, contents) = open.take().unwrap();
                    merger.apply(entry, Some(object_id_of(algorithm, &contents)))?;
                }
            }
        }
        parser.finish().unwrap();
    }
    Ok(merger.finish())
}

fn dump(tree: &FileTree) -> String {
    let mut out = Vec::new();
    dumpfile::write(tree, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Makes a layer of a listing: `dir/`, `file=contents`, `symlink->target`, `hardlink=>target`.
fn layer(listing: &str) -> Vec<u8> {
    let mut tar = Archive::new();
    for item in listing.split_whitespace() {
        tar = if let Some((name, target)) = item.split_once("=>") {
            tar.hardlink(name.as_bytes(), target.as_bytes())
        } else if let Some((name, target)) = item.split_once("->") {
            tar.symlink(name.as_bytes(), target.as_bytes())
        } else if let Some((name, contents)) = item.split_once('=') {
            tar.file(name.as_bytes(), contents.as_bytes())
        } else {
            assert!(item.ends_with('/'), "{item}");
            tar.directory(item.as_bytes())
        };
    }
    tar.finish()
}

fn merge_with(options: MergeOptions, layers: &[&str]) -> Result<FileTree, MergeError> {
    let tars: Vec<_> = layers.iter().map(|listing| layer(listing)).collect();
    merge_tars(tars.iter().map(Vec::as_slice), Algorithm::Sha256, options)
}

/// Lists a tree as layers are listed above; of hard links each name is a file.
fn list(tree: &FileTree) -> String {
    let text = dump(tree);
    let mut full = HashMap::new();
    let mut items = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<_> = line.split(' ').collect();
        let fields = full.get(fields[8]).filter(|_| fields[2] == "@120000").unwrap_or(&fields).clone();
        full.insert(line.split(' ').next().unwrap(), fields.clone());
        let path = &line.split(' ').next().unwrap()[1..];
        items.push(match &fields[2][..fields[2].len() - 4] {
            "4" => format!("{path}/"),
            "12" => format!("{path}->{}", fields[8]),
            "10" => format!("{path}={}", fields[9].trim_matches('-')),
            other => format!("{path}:{other}"),
        });
    }
    items.join(" ")
}

#[track_caller]
fn check(layers: &[&str], expected: &str) {
    let tree = merge_with(MergeOptions::default(), layers).unwrap();
    assert_eq!(list(&tree), expected, "{layers:?}");
}

#[track_caller]
fn fault(options: MergeOptions, layers: &[&str]) -> MergeFault {
    match merge_with(options, layers) {
        Ok(tree) => panic!("accepted: {}", list(&tree)),
        Err(error) => {
            assert_eq!(error.layer, layers.len());
            error.fault
        }
    }
}

#[track_caller]
fn lenient_fault(layers: &[&str]) -> MergeFault {
    fault(MergeOptions::default(), layers)
}

fn vectors() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/merge").into()
}

/// The cases: name, layers.
fn cases() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut cases: Vec<_> = fs::read_dir(vectors())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let tars = (1..).map_while(|number| fs::read(path.join(format!("{number}.tar"))).ok());
            (path.file_name().unwrap().to_str().unwrap().to_owned(), tars.collect())
        })
        .collect();
    cases.sort();
    assert_eq!(cases.len(), 14);
    cases
}

fn transform_of(case: &str) -> TransformOptions {
    let keep = case.contains("keep-user");
    TransformOptions::default().strict(true).xattrs(if keep {
        XattrMode::KeepUserXattrs
    } else {
        XattrMode::AllowlistOnly
    })
}

#[test]
fn vectors_merge_and_transform() {
    for (case, tars) in cases() {
        let expected = |name| fs::read_to_string(vectors().join(&case).join(name)).unwrap();
        for options in [MergeOptions::default(), STRICT] {
            let tars = tars.iter().map(Vec::as_slice);
            let mut tree = merge_tars(tars, Algorithm::Sha256, options).unwrap();
            similar_asserts::assert_eq!(dump(&tree), expected("raw.dump"), "{}", case);
            tree.transform_for_oci(transform_of(&case)).unwrap();
            similar_asserts::assert_eq!(dump(&tree), expected("expected.dump"), "{}", case);
        }
    }
}

#[test]
fn vectors_have_their_ids() {
    let cases: HashMap<_, _> = cases().into_iter().collect();
    let ids = fs::read_to_string(vectors().join("ids.tsv")).unwrap();
    for row in ids.lines().skip(1) {
        let [case, _, version, sha256, sha512] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let version = match version {
            "1" => FormatVersion::V1,
            "2" => FormatVersion::V2,
            _ => panic!("{row}"),
        };
        for (algorithm, expected) in [(Algorithm::Sha256, sha256), (Algorithm::Sha512, sha512)] {
            let tars = cases[case].iter().map(Vec::as_slice);
            let mut tree = merge_tars(tars, algorithm, MergeOptions::default()).unwrap();
            tree.transform_for_oci(transform_of(case)).unwrap();
            assert_eq!(image_id(&tree, version, algorithm), expected, "{row}");
        }
    }
}

fn image_id(tree: &FileTree, version: FormatVersion, algorithm: Algorithm) -> String {
    erofs::compute_id(tree, version, algorithm, &WriteOptions::default()).unwrap().to_hex()
}

#[test]
fn the_opaque_marker_of_0_3_keeps_its_id() {
    let cases: HashMap<_, _> = cases().into_iter().collect();
    let tars = cases["m03-opaque"].iter().map(Vec::as_slice);
    let tree = merge_tars(tars, Algorithm::Sha256, V03).unwrap();
    assert!(tree.lookup(&[b"etc", b"d", b"old1"]).is_ok());
    assert_eq!(
        image_id(&tree, FormatVersion::V2, Algorithm::Sha256),
        "d9ef1dc6a16f4440451841ea377bc5cd6f955b0e722fa09e219f7a389728cd07"
    );
}

#[test]
fn kinds_replace_each_other() {
    check(&["a/ a/b=1", "a=2"], "a=2");
    check(&["a=2", "a/ a/b=1"], "a/ a/b=1");
    check(&["a->x x/ x/y=1", "a/ a/b=1"], "a/ a/b=1 x/ x/y=1");
    check(&["a/ a/b=1", "a->x"], "a->x");
    check(&["a/ a/b=1 a/c=2", "a/ a/b=3"], "a/ a/b=3 a/c=2");
    check(&["a=1 l=>a a=2"], "a=2 l=1");
    check(&["d/ d/x=1", "d=>d/x"], "d=1");
}

#[test]
fn paths_are_cleaned() {
    check(&["./ ./a/ /a//b=1 a/./c=2 a/d/// ./././e=3"], "a/ a/b=1 a/c=2 a/d/ e=3");
    for path in ["..", "../a", "a/..", "a/../b", "/.."] {
        assert!(matches!(lenient_fault(&[&format!("{path}=1")]), MergeFault::Entry(_)), "{path}");
    }
    assert_eq!(lenient_fault(&["./=1"]), MergeFault::RootNotADirectory);
    assert_eq!(lenient_fault(&["a=>b"]), MergeFault::LinkTargetMissing(b"b".to_vec()));
    let long = "n".repeat(256);
    let archive = Archive::new().pax(&[("path", long.as_bytes())]).file(b"x", b"").finish();
    let error = merge_tars([&archive[..]], Algorithm::Sha256, MergeOptions::default()).unwrap_err();
    assert!(matches!(error.fault, MergeFault::Name(_)));
    assert!(error.to_string().len() < 300);
}

#[test]
fn missing_parents_are_made() {
    let tree = merge_with(MergeOptions::default(), &["a/b/c=1"]).unwrap();
    assert!(dump(&tree).ends_with(
        "/a 0 40755 3 0 0 0 0.0 - - -\n/a/b 0 40755 2 0 0 0 0.0 - - -\n/a/b/c 1 100644 1 0 0 0 0.0 - 1 -\n"
    ));
    check(&["a->b/c", "a/x=1"], "a->b/c b/ b/c/ b/c/x=1");
    assert_eq!(fault(STRICT, &["a/ a/b/c=1"]), MergeFault::ParentMissing(b"a/b".to_vec()));
    assert_eq!(lenient_fault(&["a=1 a/b=2"]), MergeFault::ParentNotADirectory(b"a".to_vec()));
}

#[test]
fn symlinks_on_the_way_are_followed_inside_the_root() {
    check(&["usr/ usr/lib/ lib->usr/lib", "lib/x=1"], "lib->usr/lib usr/ usr/lib/ usr/lib/x=1");
    check(&["usr/ lib->/usr", "lib/x=1"], "lib->/usr usr/ usr/x=1");
    check(&["a/ a/up->../../../b", "a/up/x=1"], "a/ a/up->../../../b b/ b/x=1");
    check(&["d/ d/e/ a->d/./e/.. a/x=1"], "a->d/./e/.. d/ d/e/ d/x=1");
    check(&["d/ a->/ a/d/x=1"], "a->/ d/ d/x=1");
    check(&["d/ d/x=1 a->d", "a/.wh.x="], "a->d d/");
    assert_eq!(lenient_fault(&["a->a a/x=1"]), MergeFault::TooManySymlinks);
    assert_eq!(fault(STRICT, &["d/ a->d a/x=1"]), MergeFault::ParentNotADirectory(b"a".to_vec()));
    let chain = |links: usize| {
        let links: String = (0..links).map(|at| format!("l{at}->l{} ", at + 1)).collect();
        format!("{links} l0/x=1")
    };
    assert!(merge_with(MergeOptions::default(), &[&chain(SYMLINKS_MAX)]).is_ok());
    assert_eq!(lenient_fault(&[&chain(SYMLINKS_MAX + 1)]), MergeFault::TooManySymlinks);
}

/// The way to the last directory is remembered; what lay on it may be replaced meanwhile.
#[test]
fn remembered_directories_are_forgotten_in_time() {
    check(&["a/ a/b/ a/b/1=1 a=x a/ a/b/2=2"], "a/ a/b/ a/b/2=2");
    check(&["d/ e/ l->d l/1=1 l->e l/2=2"], "d/ d/1=1 e/ e/2=2 l->e");
    check(&["a/ a/b/ a/b/1=1", "a/b/2=2 .wh.a= a/b/3=3"], "a/ a/b/ a/b/2=2 a/b/3=3");
    check(&["a/ a/b/", "a/.wh.b= a/b/2=2 a/.wh..wh..opq= a/b/3=3"], "a/ a/b/ a/b/2=2 a/b/3=3");
    check(&["x=1 a/ a/b/ a/b/1=1 a=>x a=y a/ a/b/ a/b/2=2"], "a/ a/b/ a/b/2=2 x=1");
}

#[test]
fn hard_links_are_of_the_tree_so_far() {
    check(&["a=1", "b=>/a a=2 c=>./b"], "a=2 b=1 c=1");
    check(&["a=1 a=>a"], "a=1");
    check(&["d/ d/.wh.x=>nowhere e=1"], "d/ e=1");
    for (listing, expected) in [
        ("d/ a=>d", MergeFault::LinkToDirectory(b"d".to_vec())),
        ("a=>/", MergeFault::LinkToDirectory(b"/".to_vec())),
        ("d/ d/x=1 s->d a=>s/x", MergeFault::LinkTargetMissing(b"s/x".to_vec())),
        ("a=>../b", MergeFault::Path(composefs_tar::PathError::Parent)),
    ] {
        assert_eq!(lenient_fault(&[listing]), expected, "{listing}");
    }
    // Metadata is the target's.
    let tar = Archive::new()
        .file(b"a", b"1")
        .member(HeaderBuilder::new(b'1').name(b"b").link(b"a").mode(0o7000).uid(5), b"")
        .finish();
    let tree = merge_tars([&tar[..]], Algorithm::Sha256, MergeOptions::default()).unwrap();
    assert!(dump(&tree).contains("/a 1 100644 2 0 0 "));
}

#[test]
fn whiteouts_hide_lower_layers() {
    check(&["a=1 b=2 d/ d/x=1", ".wh.a= .wh.d= .wh.never="], "b=2");
    check(&["a=1", ".wh.a= a=2"], "a=2");
    check(&["a=1", ".wh.a=", "a=3"], "a=3");
    check(&["d/ d/a=1 d/e/ d/e/f=1", "d/.wh..wh..opq= d/b=2 d/e/"], "d/ d/b=2 d/e/");
    check(&["a=1 d/ d/b=1", ".wh..wh..opq="], "");
    check(&["a=1", ".wh..wh.plnk= .wh.= .wh..wh.orph=", "b=2"], "a=1 b=2");
    check(&["a=1", "no/.wh.a= no/.wh..wh..opq="], "a=1");
    assert_eq!(fault(STRICT, &["no/.wh.a="]), MergeFault::ParentMissing(b"no".to_vec()));
    assert_eq!(lenient_fault(&["a=1 a/.wh.b="]), MergeFault::ParentNotADirectory(b"a".to_vec()));
}

#[test]
fn whiteouts_spare_their_own_layer() {
    check(&["a=1", "a=2 .wh.a="], "a=2");
    check(&["a=1 b=3", "b=>a .wh.b= .wh.a="], "b=1");
    check(&["d/ d/a=1 d/e/ d/e/f=1", "d/b=2 d/e/ d/.wh..wh..opq="], "d/ d/b=2 d/e/");
    // Listed again, below, and only put into.
    check(&["d/ d/e/ d/e/f=1 d/g/ d/g/h=1", "d/e/ d/g/i=2 .wh.d="], "d/ d/e/ d/g/ d/g/i=2");
    check(
        &["d/ d/e/ d/e/f=1 d/e/g/ d/e/g/h=1", "d/e/g/i=1 d/e/.wh.g= d/.wh..wh..opq="],
        "d/ d/e/ d/e/g/ d/e/g/i=1",
    );
    check(&["d/ d/a=1", "d/new/ d/new/x=1 d/new/.wh.x= d/new/.wh..wh..opq="], "d/ d/a=1 d/new/ d/new/x=1");
    // Two markers, and what came between.
    check(&["d/ d/a=1", "d/b=1 d/.wh..wh..opq= d/c=1 d/.wh..wh..opq="], "d/ d/b=1 d/c=1");
    // The next layer hides all of it.
    check(&["d/ d/a=1", "d/b=1 d/.wh..wh..opq=", "d/.wh..wh..opq="], "d/");
    // A directory put into keeps its metadata.
    let first = Archive::new().member(HeaderBuilder::new(b'5').name(b"d").mode(0o700).uid(7), b"").finish();
    let tars = [first, layer("d/x=1 .wh.d=")];
    let tree =
        merge_tars(tars.iter().map(Vec::as_slice), Algorithm::Sha256, MergeOptions::default()).unwrap();
    assert!(dump(&tree).contains("/d 0 40700 2 7 "));
}

#[test]
fn what_no_tree_can_hold() {
    let one = |tar: Archive| {
        merge_tars([&tar.finish()[..]], Algorithm::Sha256, MergeOptions::default())
            .map_err(|error| error.fault)
    };
    assert_eq!(one(Archive::new().symlink(b"a", b"")).unwrap_err(), MergeFault::EmptyTarget);
    let long = [b'x'; 4096];
    assert_eq!(
        one(Archive::new().long_link(&long).symlink(b"a", b"")).unwrap_err(),
        MergeFault::TargetTooLong(4096)
    );
    let tree = one(Archive::new().member(HeaderBuilder::new(b'3').name(b"w"), b"")).unwrap();
    assert!(dump(&tree).contains("/w 0 20644 1 0 0 0 "));
    for type_flag in [b's', b'A'] {
        let tar = Archive::new().member(HeaderBuilder::new(type_flag).name(b"a"), b"");
        assert!(matches!(one(tar).unwrap_err(), MergeFault::Entry(_)));
    }
    let deep = "d/".repeat(3000);
    assert_eq!(
        one(Archive::new().long_name(deep.as_bytes()).directory(b"x")).unwrap_err(),
        MergeFault::TooDeep
    );
    assert!(matches!(
        merge_tars([&layer("a/ a=1 b/")[..]], Algorithm::Sha256, STRICT),
        Ok(tree) if list(&tree) == "a=1 b/"
    ));
}

/// What would take quadratic time if every marker went through everything again.
#[test]
fn many_markers_and_deep_paths() {
    let mut listing = String::new();
    let mut path = String::new();
    for _ in 0..1000 {
        path += "d/";
        listing += &format!("{path} ");
    }
    let lower = listing.clone();
    for at in 0..3000 {
        listing += &format!("d/{at}=x d/.wh..wh..opq= .wh.d= ");
    }
    let mut path = path.as_str();
    while let Some(at) = path.trim_end_matches('/').rfind('/') {
        listing += &format!("{path}.wh..wh..opq= ");
        path = &path[..=at];
    }
    let tar = |listing: &str| {
        let add = |tar: Archive, item: &str| match item.split_once('=') {
            None => tar.long_name(item.as_bytes()).directory(b"x"),
            Some((name, contents)) => tar.long_name(name.as_bytes()).file(b"x", contents.as_bytes()),
        };
        listing.split_whitespace().fold(Archive::new(), add).finish()
    };
    let tars = [tar(&lower), tar(&listing)];
    let tree =
        merge_tars(tars.iter().map(Vec::as_slice), Algorithm::Sha256, MergeOptions::default()).unwrap();
    assert_eq!(tree.depth_first().count(), 1 + 1000 + 3000);
}

#[test]
fn the_rules_of_0_3() {
    let list_v03 = |layers: &[&str]| list(&merge_with(V03, layers).unwrap());
    assert_eq!(list_v03(&["d/ d/a=1", "d/.wh..wh..opq= d/b=2"]), "d/ d/a=1 d/b=2");
    assert_eq!(list_v03(&["d/ d/a=1", "d/b=2 d/.wh..wh.opq="]), "d/");
    assert_eq!(list_v03(&["a=1", "a=2 .wh.a="]), "");
    let newest = Archive::new()
        .pax(&[("mtime", b"5.5"), ("SCHILY.xattr.user.a", b"1")])
        .file(b"a", b"")
        .member(HeaderBuilder::new(b'5').name(b"d").mtime(7), b"")
        .finish();
    let tree = merge_tars([&newest[..]], Algorithm::Sha256, V03).unwrap();
    assert_eq!(
        dump(&tree),
        "/ 0 40555 3 0 0 0 7.0 - - -\n/a 0 100644 1 0 0 0 5.0 - - - user.a=1\n/d 0 40644 2 0 0 0 7.0 - - -\n"
    );
    let with_root =
        [newest, Archive::new().member(HeaderBuilder::new(b'5').name(b"./").mtime(3), b"").finish()];
    let tree = merge_tars(with_root.iter().map(Vec::as_slice), Algorithm::Sha256, V03).unwrap();
    assert!(dump(&tree).starts_with("/ 0 40644 3 0 0 0 3.0 - - -\n"));
}

fn an_item() -> impl Strategy<Value = String> {
    let name = || proptest::sample::select(vec!["a", "b", "c"]);
    let path = proptest::collection::vec(name(), 0..4).prop_map(|parts| parts.join("/"));
    (path, name(), 0..6).prop_map(|(path, name, kind)| {
        let path = if path.is_empty() { path } else { path + "/" };
        match kind {
            0 | 1 => format!("{path}{name}/"),
            2 | 3 => format!("{path}{name}=1"),
            4 => format!("{path}.wh.{name}="),
            _ => format!("{path}.wh..wh..opq="),
        }
    })
}

proptest! {
    /// A layer's whiteouts mean the same wherever in it they are.
    #[test]
    fn whiteouts_first_or_anywhere(
        layers in proptest::collection::vec(proptest::collection::vec(an_item(), 0..12), 1..4),
    ) {
        let sorted: Vec<String> = layers
            .iter()
            .map(|layer| {
                let (mut first, rest): (Vec<_>, Vec<_>) =
                    layer.iter().cloned().partition(|item| item.contains(".wh."));
                first.extend(rest);
                first.join(" ")
            })
            .collect();
        let layers: Vec<String> = layers.iter().map(|layer| layer.join(" ")).collect();
        let merge = |layers: &[String]| {
            let layers: Vec<_> = layers.iter().map(String::as_str).collect();
            merge_with(MergeOptions::default(), &layers)
        };
        if let (Ok(anywhere), Ok(first)) = (merge(&layers), merge(&sorted)) {
            prop_assert_eq!(list(&anywhere), list(&first));
        }
    }

    #[test]
    fn anything_merges_or_is_refused(
        layers in proptest::collection::vec(
            proptest::collection::vec(("[ab./]{0,6}", "[ab./]{1,6}", 0..6), 0..16), 1..4,
        ),
        strict: bool,
        old: bool,
    ) {
        let tars: Vec<_> = layers
            .iter()
            .map(|layer| {
                let add = |tar: Archive, (path, target, kind): &(String, String, i32)| match kind {
                    0 => tar.directory(path.as_bytes()),
                    1 => tar.file(path.as_bytes(), b"1"),
                    2 => tar.hardlink(path.as_bytes(), target.as_bytes()),
                    3 => tar.symlink(path.as_bytes(), target.as_bytes()),
                    4 => tar.file(format!("{path}/.wh.a").as_bytes(), b""),
                    _ => tar.file(format!("{path}/.wh..wh..opq").as_bytes(), b""),
                };
                layer.iter().fold(Archive::new(), add).finish()
            })
            .collect();
        let options = MergeOptions::default()
            .mode(if strict { MergeMode::Strict } else { MergeMode::Lenient })
            .rules(if old { Rules::V03 } else { Rules::Current });
        if let Ok(tree) = merge_tars(tars.iter().map(Vec::as_slice), Algorithm::Sha256, options) {
            let text = dump(&tree);
            let again = dumpfile::parse(text.as_bytes(), Algorithm::Sha256).unwrap();
            prop_assert_eq!(dump(&again.tree), text);
        }
    }
}

/// Entries behind chains of long symlinks cost thousands of steps each, and archives of them pack to nothing.
#[test]
fn ways_through_symlinks_are_counted() {
    let merge = |steps: u64| {
        let mut merger = Merger::new(MergeOptions::default());
        merger.parents.steps_left = steps;
        let tar = layer("a/ a/b/ l->a/./b/../b m->a l/x=1 m/y=2 l/z=3");
        let (mut parser, mut rest) = (Parser::new(Options::default()), &tar[..]);
        while let Some(event) = parser.parse(&mut rest).unwrap() {
            if let Event::Member(member) = event {
                merger.apply(member.entry, None)?;
            }
        }
        Ok(merger.finish())
    };
    // Five for each way through `l`, two through `m`, the ends of the targets counted.
    let error: MergeError = merge(11).unwrap_err();
    assert_eq!(error.fault, MergeFault::TooManySteps);
    assert!(dump(&merge(12).unwrap()).contains("/a/b/z "));
}

#[test]
fn a_tree_has_so_many_bytes_and_no_more() {
    let entry = |number: u64| composefs_tar::Entry {
        path: format!("d/{number}").into_bytes(),
        kind: composefs_tar::EntryKind::Fifo,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Default::default(),
        xattrs: [(b"user.a".to_vec(), vec![1; 10_000])].into(),
    };
    let mut merger = Merger::new(MergeOptions::default());
    merger.bytes_left = 100_000;
    let error = (0..20).find_map(|number| merger.apply(Ok(entry(number)), None).err()).unwrap();
    assert_eq!((error.fault, error.path), (MergeFault::TreeTooLarge, b"d/9".to_vec()));
    // Metadata that replaces others counts too: it was held, and may be as large each time.
    let mut merger = Merger::new(MergeOptions::default());
    merger.bytes_left = 100_000;
    let directory = composefs_tar::Entry { kind: composefs_tar::EntryKind::Directory, ..entry(0) };
    assert!((0..20).any(|_| merger.apply(Ok(directory.clone()), None).is_err()));
}
