//! The functions of 0.3: its own test, its golden repository, and each function once.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use composefs::{
    fsverity::{FsVerityHashValue as _, Sha256HashValue},
    repository::Repository,
    test::tempdir,
    util::parse_sha256,
};
use composefs_oci::{Error, image, import_layer, ls_layer, tar};
use rustix::fs::CWD;
use sha2::{Digest as _, Sha256};

fn append_data(builder: &mut ::tar::Builder<Vec<u8>>, name: &str, size: usize) {
    let mut header = ::tar::Header::new_ustar();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(0o700);
    header.set_entry_type(::tar::EntryType::Regular);
    header.set_size(size as u64);
    builder.append_data(&mut header, name, std::io::repeat(0).take(size as u64)).unwrap();
}

fn example_layer() -> Vec<u8> {
    let mut builder = ::tar::Builder::new(vec![]);
    append_data(&mut builder, "file0", 0);
    append_data(&mut builder, "file4095", 4095);
    append_data(&mut builder, "file4096", 4096);
    append_data(&mut builder, "file4097", 4097);
    builder.into_inner().unwrap()
}

const LINES: &str = "\
/file0 0 100700 1 0 0 0 0.0 - - -
/file4095 4095 100700 1 0 0 0 0.0 53/72beb83c78537c8970c8361e3254119fafdf1763854ecd57d3f0fe2da7c719 - 5372beb83c78537c8970c8361e3254119fafdf1763854ecd57d3f0fe2da7c719
/file4096 4096 100700 1 0 0 0 0.0 ba/bc284ee4ffe7f449377fbf6692715b43aec7bc39c094a95878904d34bac97e - babc284ee4ffe7f449377fbf6692715b43aec7bc39c094a95878904d34bac97e
/file4097 4097 100700 1 0 0 0 0.0 09/3756e4ea9683329106d4a16982682ed182c14bf076463a9e7f97305cbac743 - 093756e4ea9683329106d4a16982682ed182c14bf076463a9e7f97305cbac743
";

#[test]
fn test_layer() -> Result<()> {
    let layer = example_layer();
    let layer_id: [u8; 32] = Sha256::digest(&layer).into();

    let repo_dir = tempdir();
    let repo = Arc::new(Repository::<Sha256HashValue>::open_path(CWD, &repo_dir)?);
    let id = import_layer(&repo, &layer_id, Some("name"), &mut layer.as_slice())?;

    let mut dump = String::new();
    let mut split_stream = repo.open_stream("refs/name", Some(&id))?;
    while let Some(entry) = tar::get_entry(&mut split_stream)? {
        use std::fmt::Write as _;
        writeln!(dump, "{entry}")?;
    }
    similar_asserts::assert_eq!(dump, LINES);
    Ok(())
}

#[test]
fn layers_are_checked_and_imported_once() -> Result<()> {
    let layer = example_layer();
    let layer_id: [u8; 32] = Sha256::digest(&layer).into();
    let repo_dir = tempdir();
    let repo = Arc::new(Repository::<Sha256HashValue>::open_path(CWD, repo_dir.path())?);
    let wrong = import_layer(&repo, &[0; 32], Some("wrong"), &mut layer.as_slice());
    assert!(matches!(wrong, Err(Error::LayerMismatch { .. })), "{wrong:?}");
    assert!(repo.open_stream("refs/wrong", None).is_err());

    let id = import_layer(&repo, &layer_id, Some("name"), &mut layer.as_slice())?;
    // Present: the input is not read.
    assert_eq!(import_layer(&repo, &layer_id, Some("again"), &mut std::io::empty())?, id);
    assert_eq!(repo.check_stream(&layer_id)?, Some(id.clone()));
    ls_layer(&repo, "refs/again")?;
    let mut out = Vec::new();
    repo.merge_splitstream("refs/again", Some(&id), &mut out)?;
    assert_eq!(out, layer);

    // The parts that 0.3 offers one by one give the same.
    let other_dir = tempdir();
    let other = Repository::<Sha256HashValue>::open_path(CWD, other_dir.path())?;
    let split =
        other.ensure_stream(&layer_id, |writer| tar::split(&mut layer.as_slice(), writer), Some("name"))?;
    assert_eq!(other.check_stream(&layer_id)?, Some(split.clone()));
    let mut reader = other.open_stream("refs/name", Some(&split))?;
    let mut dump = Vec::new();
    while let Some(entry) = tar::get_entry(&mut reader)? {
        writeln!(dump, "{entry}")?;
    }
    similar_asserts::assert_eq!(String::from_utf8(dump)?, LINES);
    Ok(())
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/repo")
}

fn unpack(archive: &str, to: &Path) {
    let file = std::fs::File::open(vectors().join(archive)).unwrap();
    let mut archive = ::tar::Archive::new(flate2::read::GzDecoder::new(file));
    archive.set_preserve_permissions(false);
    archive.unpack(to).unwrap();
}

fn golden() -> (tempfile::TempDir, Arc<Repository<Sha256HashValue>>) {
    let dir = tempdir();
    unpack("r03-sha256.tar.gz", dir.path());
    let repo = Arc::new(Repository::open_path(CWD, dir.path()).unwrap());
    (dir, repo)
}

/// The rows of what 0.3 printed: command, argument, exit code, output.
fn expected(command: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(vectors().join("expected03.tsv")).unwrap();
    let rows: Vec<Vec<String>> = text
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>())
        .filter(|row: &Vec<String>| row[0] == command)
        .collect();
    assert!(!rows.is_empty(), "{command}");
    rows
}

fn sha256_hex(bytes: &[u8]) -> String {
    composefs_oci::digest::Digest::sha256(bytes).encoded().to_owned()
}

#[test]
fn streams_of_0_3_are_read() -> Result<()> {
    let (_dir, repo) = golden();
    for row in expected("stream") {
        let (name, size, contents, listed) = (&row[1], &row[2], &row[3], &row[4]);
        let digest = parse_sha256(name)?;
        let id = repo.has_stream(&digest)?.unwrap();
        assert_eq!(repo.check_stream(&digest)?, Some(id.clone()));
        let mut out = Vec::new();
        repo.merge_splitstream(name, Some(&id), &mut out)?;
        assert_eq!((out.len().to_string(), &sha256_hex(&out)), (size.clone(), contents));
        assert_eq!(ls_layer(&repo, name).is_ok(), listed == "ls-layer 0", "{name}");
    }
    Ok(())
}

/// Tells whether a layer has a long name in GNU's form: 0.3 took it with the NUL that ends it, which is in the image
/// then. No tree of ours holds such a name, so that these images have other ids.
fn has_gnu_name(repo: &Repository<Sha256HashValue>, config: &oci_spec::image::ImageConfiguration) -> bool {
    config.rootfs().diff_ids().iter().any(|diff_id| {
        let mut layer = Vec::new();
        repo.merge_splitstream(diff_id.strip_prefix("sha256:").unwrap(), None, &mut layer).unwrap();
        layer.windows(13).any(|bytes| bytes == b"././@LongLink")
    })
}

#[test]
fn images_of_0_3_have_their_ids() -> Result<()> {
    let (_dir, repo) = golden();
    let mut same = 0;
    for row in expected("oci compute-id") {
        let (config_name, id) = (&row[1], &row[3]);
        let (config, refs) = composefs_oci::open_config(&repo, config_name, None)?;
        let distinct: std::collections::BTreeSet<_> = config.rootfs().diff_ids().iter().collect();
        assert_eq!(refs.map.len(), distinct.len());
        let verity = repo.has_stream(&parse_sha256(config_name)?)?.unwrap();
        let by_id = composefs_oci::open_config_shallow(&repo, config_name, Some(&verity))?;
        assert_eq!(by_id, composefs_oci::open_config_shallow(&repo, config_name, None)?);

        let tree = image::create_filesystem(&repo, config_name, Some(&verity))?;
        let ours_id = tree.compute_image_id()?;
        if !has_gnu_name(&repo, &config) {
            assert_eq!(ours_id.to_hex(), *id, "{config_name}");
            same += 1;
        }

        // Entry by entry it is the same tree.
        let mut ours = composefs::tree::FileSystem::default();
        for diff_id in config.rootfs().diff_ids() {
            let mut reader = repo.open_stream(diff_id.strip_prefix("sha256:").unwrap(), None)?;
            while let Some(entry) = tar::get_entry(&mut reader)? {
                image::process_entry(&mut ours, entry)?;
            }
        }
        ours.done()?;
        assert_eq!(ours.compute_image_id()?, ours_id, "{config_name}");
    }
    assert!(same > 0);
    Ok(())
}

#[test]
fn seals_are_those_of_0_3() -> Result<()> {
    let (_dir, repo) = golden();
    for row in expected("oci seal") {
        let config_name = &row[1];
        let config = composefs_oci::open_config_shallow(&repo, config_name, None)?;
        let labels =
            config.config().as_ref().and_then(|section| section.labels().clone()).unwrap_or_default().len();
        let as_03 = !has_gnu_name(&repo, &config);
        let (digest, id) = composefs_oci::seal(&repo, config_name, None)?;
        assert_eq!(composefs_oci::seal(&repo, config_name, None)?, (digest, id.clone()), "sealed twice");
        let hex = composefs_oci::digest::Digest::from_sha256(&digest).encoded().to_owned();
        let printed = row[3].split(';').next().unwrap().strip_prefix("sha256 ").unwrap();
        // With further labels 0.3 writes them in random order.
        if as_03 && labels == 0 {
            assert_eq!(hex, printed, "{config_name}");
        }
        let sealed = composefs_oci::open_config_shallow(&repo, &hex, None)?;
        let label =
            sealed.config().as_ref().unwrap().labels().as_ref().unwrap()["containers.composefs.fsverity"]
                .clone();
        let image =
            expected("oci compute-id").into_iter().find(|row| row[1] == *config_name).unwrap()[3].clone();
        assert_eq!(label == image, as_03);
        repo.open_image(&label)?;
        composefs_oci::open_config(&repo, &hex, None)?;

        let unsealed = composefs_oci::mount(&repo, config_name, "/nowhere", None);
        assert!(matches!(unsealed, Err(Error::NotSealed)), "{unsealed:?}");
        let nowhere = composefs_oci::mount(&repo, &hex, "/nowhere", Some(&id));
        assert!(matches!(nowhere, Err(Error::Repository(_))), "{nowhere:?}");
    }
    Ok(())
}

#[cfg(feature = "proxy")]
#[test]
fn pulled_images_have_a_config_and_a_tag() -> Result<()> {
    let dir = tempdir();
    let layouts = dir.path().join("layouts");
    unpack("layouts.tar.gz", &layouts);
    let path = dir.path().join("repo");
    std::fs::create_dir(&path)?;
    let repo = Arc::new(Repository::<Sha256HashValue>::open_path(CWD, &path)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    for row in expected("oci pull") {
        let layout = &row[1];
        let imgref = format!("oci:{}", layouts.join(layout).display());
        let imgref = if layout == "basic" { format!("{imgref}:latest") } else { imgref };
        let name = format!("images/{layout}");
        let (digest, id) = runtime.block_on(composefs_oci::pull(&repo, &imgref, Some(&name)))?;
        let hex = composefs_oci::digest::Digest::from_sha256(&digest).encoded().to_owned();
        assert!(row[3].starts_with(&format!("sha256 {hex};")), "{row:?}");

        let mut json = Vec::new();
        repo.open_stream(&format!("refs/{name}"), Some(&id))?.read_to_end(&mut json)?;
        assert_eq!(sha256_hex(&json), hex);
        let (config, refs) = composefs_oci::open_config(&repo, &hex, None)?;
        assert_eq!(
            composefs_oci::open_config(&repo, &format!("refs/{name}"), Some(&id))?,
            (config.clone(), refs.clone())
        );
        assert_eq!(
            composefs_oci::stored::StoredImage::open_tag(&repo.reader(), &name)?
                .config()
                .digest()
                .digest()
                .encoded(),
            hex
        );

        // Without its labels the config is written as it was read.
        let written = composefs_oci::write_config(&repo, &config, refs)?;
        composefs_oci::open_config(
            &repo,
            &sha256_hex(&{
                let mut json = Vec::new();
                let hex = composefs_oci::digest::Digest::from_sha256(&written.0).encoded().to_owned();
                repo.merge_splitstream(&hex, Some(&written.1), &mut json)?;
                json
            }),
            Some(&written.1),
        )?;
        // Today's repository is sealed with today's image, which is the one that was pulled.
        let sealed = composefs_oci::seal(&repo, &hex, Some(&id))?;
        let sealed = composefs_oci::digest::Digest::from_sha256(&sealed.0).encoded().to_owned();
        let label = composefs_oci::open_config_shallow(&repo, &sealed, None)?;
        let label =
            label.config().as_ref().unwrap().labels().as_ref().unwrap()[composefs_oci::seal::LABEL].clone();
        let version = repo.reader().erofs_formats().default;
        let stored = composefs_oci::stored::StoredImage::open_tag(&repo.reader(), &name)?;
        assert_eq!(stored.config().image(version).unwrap().to_hex(), label);
    }
    repo.gc()?;
    runtime.block_on(async {
        let mut stream = repo.create_stream(None, None);
        tar::split_async(&example_layer()[..], &mut stream).await?;
        stream.done()
    })?;
    Ok(())
}
