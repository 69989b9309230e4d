//! Layers merged into a tree: no input panics, what strict mode takes is the same in both, and every tree can be
//! printed, written as an image, and read back.
//!
//! The input is a listing of entries, a line each: a letter for the kind, the path, and after a TAB the contents or
//! target; a line `-` begins the next layer.
#![allow(clippy::unwrap_used, unreachable_pub)]

use composefs::{
    digest::{Algorithm, object_id_of},
    dumpfile,
    erofs::{self, FormatVersion, Image, ReadLimits, WriteOptions},
    filetree::{FileTree, TransformOptions},
};
use composefs_oci::rootfs::{MergeError, MergeMode, MergeOptions, Merger, Rules};
use composefs_tar::{Content, Entry, EntryKind, Mtime};

/// Reads a line; `None` for one that is no entry.
fn entry(line: &[u8]) -> Option<Entry> {
    let (kind, rest) = line.split_first()?;
    let mut parts = rest.splitn(2, |&byte| byte == b'\t');
    let (path, what) = (parts.next()?, parts.next().unwrap_or_default());
    let kind = match kind {
        b'd' => EntryKind::Directory,
        b'f' if what.len() <= 64 => {
            EntryKind::Regular { size: what.len() as u64, content: Content::Inline(what.to_vec()) }
        }
        b'f' => EntryKind::Regular { size: what.len() as u64, content: Content::External },
        b'l' => EntryKind::Symlink { target: what.to_vec() },
        b'h' => EntryKind::Hardlink { target: what.to_vec() },
        b'c' => EntryKind::CharDevice { major: 0, minor: what.len() as u32 },
        b'b' => EntryKind::BlockDevice { major: what.len() as u32, minor: 1 },
        b'p' => EntryKind::Fifo,
        _ => return None,
    };
    let mut xattrs = std::collections::BTreeMap::new();
    if let [first @ b'a'..=b'z', ..] = what {
        xattrs.insert(format!("user.{}", char::from(*first)).into_bytes(), what.to_vec());
    }
    let mtime = Mtime { seconds: what.len() as i64, nanos: path.len() as u32 };
    Some(Entry { path: path.to_vec(), kind, mode: 0o755, uid: 0, gid: path.len() as u32, mtime, xattrs })
}

fn merge(data: &[u8], options: MergeOptions) -> Result<FileTree, MergeError> {
    let mut merger = Merger::new(options);
    merger.begin_layer();
    for line in data.split(|&byte| byte == b'\n') {
        if line == b"-" {
            merger.begin_layer();
        } else if let Some(entry) = entry(line) {
            let id = object_id_of(Algorithm::Sha256, &entry.path);
            merger.apply(Ok(entry), Some(id))?;
        }
    }
    Ok(merger.finish())
}

fn print(tree: &FileTree) -> Vec<u8> {
    let mut out = Vec::new();
    dumpfile::write(tree, &mut out).unwrap();
    out
}

/// Whether a whiteout has several names: layers can make that, and neither images nor dumpfiles hold it.
fn has_linked_whiteout(tree: &FileTree) -> bool {
    let counts = tree.name_counts();
    tree.depth_first().any(|step| tree.inode(step.inode).kind.is_whiteout() && counts[step.inode.index()] > 1)
}

fn check(mut tree: FileTree, strict: bool) {
    if has_linked_whiteout(&tree) {
        assert!(dumpfile::parse(&print(&tree), Algorithm::Sha256).is_err());
        // Unless the transform takes the names away.
        if tree.transform_for_oci(TransformOptions::default().strict(strict)).is_ok()
            && has_linked_whiteout(&tree)
        {
            for version in [FormatVersion::V1, FormatVersion::V2] {
                assert!(erofs::to_vec(&tree, version, &WriteOptions::default()).is_err());
            }
        }
        return;
    }
    let printed = print(&tree);
    let parsed = dumpfile::parse(&printed, Algorithm::Sha256).unwrap();
    assert_eq!(print(&parsed.tree), printed);
    if tree.transform_for_oci(TransformOptions::default().strict(strict)).is_err() {
        assert!(strict);
        return;
    }
    for version in [FormatVersion::V1, FormatVersion::V2] {
        let Ok(bytes) = erofs::to_vec(&tree, version, &WriteOptions::default()) else { continue };
        let image = Image::open(&bytes, &ReadLimits::default()).unwrap();
        let again = erofs::to_tree(&image, Algorithm::Sha256).unwrap();
        assert_eq!(erofs::to_vec(&again, version, &WriteOptions::default()).unwrap(), bytes);
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let options = MergeOptions::default();
    let lenient = merge(data, options);
    if let Ok(strict) = merge(data, options.mode(MergeMode::Strict)) {
        let lenient = lenient.as_ref().unwrap();
        assert_eq!(print(&strict), print(lenient), "strict mode gives another tree");
        check(strict, true);
    }
    if let Ok(tree) = lenient {
        check(tree, false);
    }
    if let Ok(tree) = merge(data, options.rules(Rules::V03)) {
        check(tree, false);
    }
}
