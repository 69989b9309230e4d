//! The stages of a pull and of what comes after it, each alone: `cargo bench -p composefs-oci`.
//!
//! With `--count STAGE` one of them runs once, with hashes by portable code, for `bench/instructions`. What it makes before
//! does not count: that stands outside of `counted_stage`.
#![forbid(unsafe_code)]
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::Read as _;

use composefs::{
    digest::{Algorithm, ObjectId, VerityHasher, hash::Sha256, object_id_of, object_ids_of},
    erofs::{self, FormatVersion, Image, ReadLimits, WriteOptions},
    error::Category,
    filetree::FileTree,
    progress::Silent,
    repo::{
        InitOptions, OpenOptions, Repository, Writer, init,
        usage::{Accounting, Standing},
    },
    splitstream::{Builder, ContentType},
};
use composefs_oci::{
    decompress::{BUFFER, Decompressor},
    pull::{PullOptions, pull},
    rootfs::{self, RootfsOptions},
    stored::StoredImage,
    transport,
};
use composefs_tar::{Event, Options, Parser};
use composefs_testkit::{
    images::{self, Compression, Layer, Layout, noise},
    tars::TarBuilder,
};
use divan::{Bencher, counter::BytesCount};
use rustix::fs::CWD;
use tempfile::TempDir;

/// Does a stage's work once and returns how many bytes of a tar or an image it was.
type Stage = Box<dyn FnMut() -> usize>;

const STAGES: &[(&str, fn() -> Stage)] = &[
    ("inflate", inflate),
    ("tar_split", tar_split),
    ("hash_with_diff_id", hash_with_diff_id),
    ("hash_together_sha512", hash_together_sha512),
    ("object_store", object_store),
    ("objects_present", objects_present),
    ("splitstream", splitstream),
    ("merge", merge),
    ("erofs_write", erofs_write),
    ("erofs_read", erofs_read),
    ("mark", mark),
];

fn main() {
    match std::env::args().skip_while(|argument| argument != "--count").nth(1) {
        None => divan::main(),
        Some(name) => {
            composefs_hash::force_portable();
            let mut stage = find(&name)();
            divan::black_box(counted_stage(&mut stage));
        }
    }
}

fn find(name: &str) -> fn() -> Stage {
    STAGES.iter().find(|(known, _)| *known == name).unwrap().1
}

#[inline(never)]
fn counted_stage(stage: &mut Stage) -> usize {
    stage()
}

#[divan::bench(args = STAGES.iter().map(|(name, _)| *name))]
fn stage(bencher: Bencher<'_, '_>, name: &str) {
    let mut stage = find(name)();
    let bytes = stage();
    bencher.counter(BytesCount::new(bytes)).bench_local(stage);
}

/// Files of up to 12 kB and one of 600 kB: text that packs three to one, about.
fn files() -> Vec<Vec<u8>> {
    let words: Vec<Vec<u8>> = (0..512).map(|n| noise(n, 3 + n as usize % 9)).collect();
    let text = |seed: u64, length: usize| {
        let choice = noise(seed, length);
        let mut bytes: Vec<u8> = choice
            .chunks_exact(2)
            .flat_map(|two| words[usize::from(u16::from_le_bytes([two[0], two[1]])) % 512].clone())
            .collect();
        bytes.truncate(length);
        bytes
    };
    (0..300).map(|n| text(n, (n as usize * 7919) % 12_000)).chain([text(999, 600_000)]).collect()
}

fn tar() -> Vec<u8> {
    let tar = files().iter().enumerate().fold(TarBuilder::new().dir("usr"), |tar, (n, contents)| {
        let directory = format!("usr/{:02}", n % 30);
        let tar = if n < 30 { tar.dir(&directory) } else { tar };
        tar.file(&format!("{directory}/file-{n}"), contents)
    });
    tar.finish()
}

fn inflate() -> Stage {
    let blob = images::gzip(&tar());
    let mut buffer = vec![0; BUFFER];
    Box::new(move || {
        let mut contents = Decompressor::new(&blob[..]).unwrap();
        let mut bytes = 0;
        loop {
            match contents.read(&mut buffer).unwrap() {
                0 => return bytes,
                got => bytes += got,
            }
        }
    })
}

fn tar_split() -> Stage {
    let tar = tar();
    Box::new(move || {
        let mut parser = Parser::new(Options::default());
        for mut input in tar.chunks(BUFFER) {
            while let Some(event) = parser.parse(&mut input).unwrap() {
                if let Event::Begin(member) = event {
                    divan::black_box(member);
                }
            }
        }
        parser.finish().unwrap();
        tar.len()
    })
}

fn hash_with_diff_id() -> Stage {
    let files = files();
    Box::new(move || {
        let mut tar = Sha256::new();
        for contents in &files {
            let mut hasher = VerityHasher::new(Algorithm::Sha256);
            hasher.update_with(&mut tar, contents);
            tar.update(&[0; 512][contents.len() % 512..]);
            divan::black_box(hasher.finish());
        }
        divan::black_box(tar.finish());
        files.iter().map(Vec::len).sum()
    })
}

fn hash_together_sha512() -> Stage {
    let files = files();
    Box::new(move || {
        for batch in files.chunks(32) {
            let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
            divan::black_box(object_ids_of(Algorithm::Sha512, &batch));
        }
        files.iter().map(Vec::len).sum()
    })
}

/// A repository, gone with the stage.
fn repository() -> (TempDir, Writer) {
    let directory = TempDir::new().unwrap();
    let repo = directory.path().join("repo");
    init(CWD, &repo, &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    let writer = Repository::open(CWD, &repo, &OpenOptions::default()).unwrap().into_writer().unwrap();
    (directory, writer)
}

fn object_store() -> Stage {
    let (directory, writer) = repository();
    let mut files = files();
    let mut round = 0_u64;
    Box::new(move || {
        let _ = &directory;
        round += 1;
        let mut bytes = 0;
        for contents in &mut files {
            // Others in each round: what is there already costs next to nothing.
            contents.splice(..contents.len().min(8), round.to_le_bytes());
            writer.store_prepared(object_id_of(Algorithm::Sha256, contents), contents).unwrap();
            bytes += contents.len();
        }
        bytes
    })
}

fn objects_present() -> Stage {
    let (directory, writer) = repository();
    let files = files();
    let ids: Vec<ObjectId> = files.iter().map(|contents| writer.store_bytes(contents).unwrap().id).collect();
    Box::new(move || {
        let _ = &directory;
        assert!(writer.has_objects(ids.iter().copied()).unwrap());
        files.iter().map(Vec::len).sum()
    })
}

fn splitstream() -> Stage {
    let files = files();
    let ids: Vec<ObjectId> = files.iter().map(|file| object_id_of(Algorithm::Sha256, file)).collect();
    let headers: Vec<Vec<u8>> = tar().chunks(512).take(files.len()).map(<[u8]>::to_vec).collect();
    Box::new(move || {
        let mut builder = Builder::new(Algorithm::Sha256, ContentType::OCI_LAYER).unwrap();
        for ((file, id), header) in files.iter().zip(&ids).zip(&headers) {
            builder.inline(header).unwrap();
            builder.external(id, file.len() as u64).unwrap();
        }
        divan::black_box(builder.finish().unwrap().into_bytes().unwrap());
        files.iter().map(Vec::len).sum()
    })
}

/// A repository with an image of two layers.
fn pulled() -> (TempDir, Writer, StoredImage) {
    let (directory, writer) = repository();
    let mut layout = Layout::create(directory.path().join("layout"));
    let upper = TarBuilder::new().whiteout("usr/01/file-1").file("usr/02/file-2", "another").finish();
    let layers = [tar(), upper].map(|tar| Layer::new(tar, Compression::Gzip));
    layout.image("it", &images::Image::new(layers));
    let source =
        transport::open(&layout.reference("it").parse().unwrap(), &transport::SourceOptions::default());
    let options = PullOptions::default().tag("it").jobs(1);
    let pulled = pull(&writer, source.unwrap().as_ref(), &options, &Silent).unwrap();
    let image = StoredImage::open(&writer, &pulled.manifest).unwrap();
    (directory, writer, image)
}

fn merged(writer: &Writer, image: &StoredImage) -> FileTree {
    let layers = image.config().layers().unwrap();
    rootfs::tree(writer, image.config().digest(), &layers, &RootfsOptions::default()).unwrap()
}

fn merge() -> Stage {
    let (directory, writer, image) = pulled();
    let bytes = tar().len();
    Box::new(move || {
        let _ = &directory;
        divan::black_box(merged(&writer, &image));
        bytes
    })
}

fn image_bytes() -> (FileTree, Vec<u8>) {
    let (_directory, writer, image) = pulled();
    let tree = merged(&writer, &image);
    let bytes = erofs::to_vec(&tree, FormatVersion::V1, &WriteOptions::default()).unwrap();
    (tree, bytes)
}

fn erofs_write() -> Stage {
    let (tree, _) = image_bytes();
    Box::new(move || erofs::to_vec(&tree, FormatVersion::V1, &WriteOptions::default()).unwrap().len())
}

fn erofs_read() -> Stage {
    let (_, bytes) = image_bytes();
    Box::new(move || {
        let image = Image::open(&bytes, &ReadLimits::default()).unwrap();
        divan::black_box(erofs::to_tree(&image, Algorithm::Sha256).unwrap());
        bytes.len()
    })
}

/// The walk from the roots that a collection begins with. Not the plan of one: that reads a clock, by a function of the
/// kernel's that valgrind has not.
fn mark() -> Stage {
    let (directory, writer, _) = pulled();
    let bytes = tar().len();
    Box::new(move || {
        let _ = &directory;
        let mut accounting = Accounting::new(&writer).unwrap();
        for (_, id) in writer.stream_entries().unwrap() {
            accounting.root(Standing::Kept, Category::Streams, id);
        }
        divan::black_box(accounting.finish().unwrap());
        bytes
    })
}
