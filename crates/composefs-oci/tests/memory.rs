//! How much memory a pull, a check and a collection take: each in a process of its own, which looks at its peak.
//!
//! A release build pulls what the promise is about, 1 GiB in three files and 150,000 small ones; a debug build a
//! part of it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{io::Write, path::Path, process::Command};

use composefs::{
    digest::Algorithm,
    progress::Silent,
    repo::{CheckOptions, GcOptions, GcPlan, InitOptions, OpenOptions, Repository, Wait, init},
};
use composefs_oci::{
    digest::DigestHasher,
    fsck,
    pull::{PullOptions, pull},
    transport,
};
use composefs_testkit::{
    images::{Compression, Image, Layer, Layout},
    tars::TarBuilder,
};
use rustix::fs::CWD;

const FULL: bool = !cfg!(debug_assertions);
/// In the child: repository, jobs and what to do: pull a reference, `check`, `deep` or `gc`, by spaces.
const CHILD: &str = "COMPOSEFS_MEMORY_CHILD";

/// A layer that is packed while it is made: the tar is never whole in memory.
struct Packing {
    packed: flate2::write::GzEncoder<Vec<u8>>,
    tar: DigestHasher,
}

impl Packing {
    fn new() -> Self {
        let packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        Self { packed, tar: DigestHasher::sha256() }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.packed.write_all(bytes).unwrap();
        self.tar.update(bytes);
    }

    fn finish(mut self) -> Layer {
        self.push(&[0; 1024]);
        let blob = self.packed.finish().unwrap();
        let mut layer = Layer::packed(Vec::new(), blob, Compression::Gzip.media_type());
        layer.diff_id = self.tar.finish().to_string();
        layer
    }
}

/// Compressible, and different for each number.
fn block(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (at, piece) in bytes.chunks_mut(64).enumerate() {
        let text = format!("{number} {at} ");
        let length = piece.len().min(text.len());
        piece[..length].copy_from_slice(&text.as_bytes()[..length]);
    }
    bytes
}

/// Pulls an image in a child and returns its peak in MiB.
fn peak(layers: Vec<Layer>, jobs: usize) -> u64 {
    let (mib, outcome) = tried(layers, jobs);
    assert_eq!(outcome, "pulled");
    mib
}

/// Pulls an image in a child and returns its peak in MiB, and what came of it.
fn tried(layers: Vec<Layer>, jobs: usize) -> (u64, String) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    pulled(dir.path(), layers, jobs)
}

/// The same, into `repo` in a directory.
fn pulled(dir: &Path, layers: Vec<Layer>, jobs: usize) -> (u64, String) {
    let mut layout = Layout::create(dir.join("layout"));
    layout.image("x", &Image::new(layers));
    let repo = dir.join("repo");
    init(CWD, &repo, &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    child_of(&repo, &layout.reference("x"), jobs)
}

/// Does something to a repository in a child and returns its peak in MiB, and what came of it.
fn child_of(repo: &Path, what: &str, jobs: usize) -> (u64, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{} {what} {jobs}", repo.display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let said = |what| text.lines().find_map(|line| line.split_once(what)).expect("the child says it").1;
    let mib = said("peak ").trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024;
    (mib, said("outcome ").to_owned())
}

#[test]
fn child() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let [repo, what, jobs] = arguments.split(' ').collect::<Vec<_>>()[..] else { panic!("{arguments}") };
    let repository = Repository::open(CWD, Path::new(repo), &OpenOptions::default()).unwrap();
    let jobs = jobs.parse().unwrap();
    let outcome = match what {
        "check" | "deep" => {
            let options = CheckOptions::default().threads(jobs).deep(what == "deep");
            let report = repository.check(&options, &Silent).unwrap();
            let options = fsck::CheckOptions::default().threads(jobs).deep(what == "deep");
            let images = fsck::check(&repository, None, &options, &Silent).unwrap();
            format!("{} {}", report.findings.len() + images.findings.len(), report.objects.checked)
        }
        "gc" => {
            let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
            let report = plan.apply(&repository.sweeper(Wait::Forever).unwrap(), &Silent).unwrap();
            report.objects_removed.to_string()
        }
        reference => {
            let writer = repository.into_writer().unwrap();
            let source =
                transport::open(&reference.parse().unwrap(), &transport::SourceOptions::default()).unwrap();
            let options = PullOptions::default().tag("x").jobs(jobs);
            match pull(&writer, source.as_ref(), &options, &Silent) {
                Ok(_) => "pulled".to_owned(),
                Err(error) => composefs::error::chain(&error).replace('\n', " "),
            }
        }
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\noutcome {outcome}\npeak {}", line.trim()).unwrap();
}

fn report(what: &str, mib: u64, limit: u64) {
    // Past the harness's capture: a figure for whoever runs it.
    let _ = writeln!(std::io::stderr(), "{what}: {mib} MiB at most");
    assert!(mib <= limit, "{what}: {mib} MiB");
}

#[test]
fn three_large_files() {
    let mib = if FULL { 1024 } else { 192 };
    let mut layer = Packing::new();
    layer.push(&TarBuilder::new().dir("usr").unfinished());
    for number in 0..3 {
        let size = mib / 3;
        let header = TarBuilder::new().file(&format!("usr/{number}"), vec![0; 512]).unfinished();
        let mut header = tar::Header::from_byte_slice(&header[..512]).clone();
        header.set_size(size << 20);
        header.set_cksum();
        layer.push(header.as_bytes());
        for at in 0..size {
            layer.push(&block(number * 1000 + at, 1 << 20));
        }
    }
    report("three large files", peak(vec![layer.finish()], 2), 64);
}

#[test]
fn many_small_files() {
    let count = if FULL { 150_000 } else { 6_000 };
    let mut layer = Packing::new();
    layer.push(&TarBuilder::new().dir("usr").unfinished());
    for directory in 0..count / 100 {
        let mut tar = TarBuilder::new().dir(&format!("usr/directory-{directory}"));
        for file in 0..100 {
            let number = directory * 100 + file;
            let name = format!("usr/directory-{directory}/file-with-a-name-of-its-own-{number}");
            tar = tar.file(&name, block(number, 70 + number as usize % 2_000));
        }
        layer.push(&tar.unfinished());
    }
    report("many small files", peak(vec![layer.finish()], 2), 64);
}

#[test]
fn sixteen_layers_at_once() {
    let layers = (0..16).map(|number| {
        let mut layer = Packing::new();
        layer.push(&TarBuilder::new().dir("usr").unfinished());
        // The largest files that are held whole.
        for file in 0..if FULL { 60 } else { 12 } {
            let contents = block(number * 100 + file, 1 << 20);
            layer.push(&TarBuilder::new().file(&format!("usr/{number}-{file}"), contents).unfinished());
        }
        layer.finish()
    });
    report("sixteen layers at once", peak(layers.collect(), 16), 96);
}

/// A member of the type with this much data, and a file it is for.
fn extended(type_flag: u8, mut next: impl FnMut() -> Vec<u8>, mib: usize) -> Layer {
    let mut data = Vec::new();
    while data.len() < mib << 20 {
        data.extend(next());
    }
    let mut layer = Packing::new();
    let mut header = tar::Header::new_gnu();
    if type_flag == b'x' {
        header = tar::Header::new_ustar();
    }
    header.set_entry_type(tar::EntryType::new(type_flag));
    header.set_size(data.len() as u64);
    header.set_cksum();
    layer.push(header.as_bytes());
    layer.push(&data);
    layer.push(&vec![0; data.len().next_multiple_of(512) - data.len()]);
    layer.push(&TarBuilder::new().file("x", vec![1; 10]).unfinished());
    layer.finish()
}

/// Layers of some KiB that unpack to what would fill the memory if it were kept.
#[test]
fn hostile_layers() {
    let mut number = 0;
    let xattrs = extended(
        b'x',
        || {
            number += 1;
            format!("30 SCHILY.xattr.user.{number:07}=\n").into_bytes()
        },
        63,
    );
    let name = extended(b'L', || vec![b'n'; 1 << 20], 63);
    let record = [&b"1048576 comment="[..], &vec![b'c'; 1_048_559], b"\n"].concat();
    let comment = extended(b'x', || record.clone(), 60);
    for (what, layer, outcome) in [
        ("64 MiB of attributes", xattrs, "more than 1048576 bytes of extended attributes"),
        ("a name of 64 MiB", name, "a name of more than 1048576 bytes"),
        ("64 MiB of comments", comment, "pulled"),
    ] {
        let (mib, said) = tried(vec![layer], 2);
        assert!(said.contains(outcome), "{what}: {said}");
        report(what, mib, 64);
    }
}

/// So many files, each of `size` bytes and some, and a last one.
fn files(count: u64, size: usize, last_mib: u64) -> Layer {
    let mut layer = Packing::new();
    layer.push(&TarBuilder::new().dir("usr").unfinished());
    for number in 0..count {
        let contents = block(number, size + number as usize % 100);
        layer.push(&TarBuilder::new().file(&format!("usr/file-{number}"), contents).unfinished());
    }
    let header = TarBuilder::new().file("usr/last", vec![0; 512]).unfinished();
    let mut header = tar::Header::from_byte_slice(&header[..512]).clone();
    header.set_size(last_mib << 20);
    header.set_cksum();
    layer.push(header.as_bytes());
    for at in 0..last_mib {
        layer.push(&block(at, 1 << 20));
    }
    layer.finish()
}

/// Checks and collections hold what they know of each object, and never what is in it.
#[test]
fn checks_and_collections() {
    let count = if FULL { 20_000 } else { 1_500 };
    let mut peaks = Vec::new();
    for (size, last) in [(200, 1), (40_000, 96)] {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let (_, outcome) = pulled(dir.path(), vec![files(count, size, last)], 2);
        assert_eq!(outcome, "pulled");
        let repo = dir.path().join("repo");
        let mut of_size = Vec::new();
        for what in ["check", "deep", "gc"] {
            let (mib, outcome) = child_of(&repo, what, 2);
            let nothing = if what == "gc" { "0".to_owned() } else { format!("0 {}", count + 7) };
            assert_eq!(outcome, nothing, "{what}");
            report(&format!("{what} of files of {size} bytes"), mib, 48);
            of_size.push(mib);
        }
        std::fs::remove_file(repo.join("streams/refs/oci/x")).unwrap();
        let (mib, outcome) = child_of(&repo, "gc", 2);
        assert!(outcome.parse::<u64>().unwrap() > count, "{outcome}");
        report("gc of everything", mib, 48);
        of_size.push(mib);
        peaks.push(of_size);
    }
    for (small, large) in peaks[0].iter().zip(&peaks[1]) {
        assert!(*large <= small + 16, "larger objects take more memory: {peaks:?}");
    }
}
