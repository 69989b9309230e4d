//! `cfsctl oci ls`

use std::{ffi::OsString, io::Write as _};

use clap::Args;
use composefs::filetree::{FileTree, InodeId, InodeKind, inode::major_minor, resolve::LastLink, walk::join};
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    app::App,
    cmd::oci::tree_args::TreeArgs,
    ui::{self, path::Exact},
};

/// List files in an image
///
/// A directory's names, or the one file. Nothing is mounted. Names with control characters, or that are not UTF-8, are
/// escaped; --json has them as they are, as a list of bytes if they are not UTF-8.
///
/// Example: cfsctl oci ls -l web /etc
#[derive(Debug, Args)]
pub(crate) struct Ls {
    #[command(flatten)]
    args: TreeArgs,
    /// A path in the image
    #[arg(default_value = "/")]
    path: OsString,
    /// Show mode, names, owner, size and time, too
    #[arg(long, short)]
    long: bool,
    /// List all that is below, with paths
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    path: Exact,
    entries: Vec<Entry>,
}

/// A name. What a type does not have is left out.
#[derive(Serialize)]
struct Entry {
    path: Exact,
    #[serde(rename = "type")]
    kind: &'static str,
    mode: String,
    uid: u32,
    gid: u32,
    links: u32,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Exact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    xattrs: std::collections::BTreeMap<String, String>,
}

impl Ls {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let tree = self.args.tree(app, &repo)?;
        let found = self.args.resolve(&tree, &self.path, LastLink::Keep)?;
        let at = found.path();
        let listed = list(&tree, &at, found.inode, self.recursive);
        let counts = tree.name_counts();
        let entry = |(path, inode): &(Vec<u8>, InodeId)| {
            describe(&tree, path, *inode, tree.link_count(*inode, &counts))
        };
        if self.json {
            let entries = listed.iter().map(entry).collect();
            return ui::json::print(&Document { version: 1, path: Exact(at), entries });
        }
        let mut out = std::io::BufWriter::new(ui::out());
        // Paths where they differ in more than the name.
        let shown = |path: &[u8]| {
            let name = match path.rsplit(|byte| *byte == b'/').next() {
                Some(name) if !self.recursive && !name.is_empty() => name,
                _ => path,
            };
            ui::path::show(name).into_owned()
        };
        if !self.long {
            for (path, _) in &listed {
                writeln!(out, "{}", shown(path))?;
            }
        } else {
            let rows: Vec<(String, Entry)> = listed.iter().map(|one| (shown(&one.0), entry(one))).collect();
            write_long(&rows, &mut out)?;
        }
        out.flush()?;
        Ok(())
    }
}

/// What is listed, in byte order: a directory's names, with all that is below if `recursive`, or the file itself.
fn list(tree: &FileTree, at: &[u8], inode: InodeId, recursive: bool) -> Vec<(Vec<u8>, InodeId)> {
    match tree.entries(inode) {
        None => vec![(at.to_vec(), inode)],
        Some(_) if recursive => tree.paths(at, inode).skip(1).collect(),
        Some(entries) => entries.iter().map(|(name, child)| (join(at, name), *child)).collect(),
    }
}

fn describe(tree: &FileTree, path: &[u8], inode: InodeId, links: u32) -> Entry {
    let inode = tree.inode(inode);
    let text = |bytes: &[u8]| ui::path::show(bytes).into_owned();
    let (mut size, mut object, mut target, mut device) = (None, None, None, None);
    let kind = match &inode.kind {
        InodeKind::Directory(_) => "directory",
        InodeKind::Regular(file) => {
            size = Some(file.size());
            object = file.object().map(ToString::to_string);
            "file"
        }
        InodeKind::Symlink(to) => {
            target = Some(Exact(to.to_vec()));
            "symlink"
        }
        InodeKind::CharDevice(number) => {
            device = Some(major_minor(*number));
            "character-device"
        }
        InodeKind::BlockDevice(number) => {
            device = Some(major_minor(*number));
            "block-device"
        }
        InodeKind::Fifo => "fifo",
        InodeKind::Socket => "socket",
    };
    let xattrs = inode.stat.xattrs.iter().map(|(name, value)| (text(name), text(value))).collect();
    Entry {
        path: Exact(path.to_vec()),
        kind,
        mode: format!("{:04o}", inode.stat.mode),
        uid: inode.stat.uid,
        gid: inode.stat.gid,
        links,
        mtime: date(inode.stat.mtime_seconds, inode.stat.mtime_nanos),
        size,
        object,
        target,
        device,
        xattrs,
    }
}

/// RFC 3339 in UTC, with a fraction only where there is one; the bare seconds for a year of more than four digits.
fn date(seconds: i64, nanos: u32) -> String {
    let Ok(at) = OffsetDateTime::from_unix_timestamp(seconds) else { return seconds.to_string() };
    let (date, time) = (at.date(), at.time());
    let fraction = match nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// The ten characters of `ls -l`.
fn mode(entry: &Entry) -> String {
    let bits = u16::from_str_radix(&entry.mode, 8).unwrap_or(0);
    let kind = match entry.kind {
        "directory" => 'd',
        "symlink" => 'l',
        "character-device" => 'c',
        "block-device" => 'b',
        "fifo" => 'p',
        "socket" => 's',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        text.push(if bits >> shift & 4 != 0 { 'r' } else { '-' });
        text.push(if bits >> shift & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & special != 0, bits >> shift & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    // As ls has it for anything that ls itself does not show.
    text.push(if entry.xattrs.is_empty() { ' ' } else { '+' });
    text
}

fn write_long(rows: &[(String, Entry)], out: &mut impl std::io::Write) -> std::io::Result<()> {
    let size = |entry: &Entry| match (entry.size, entry.device) {
        (Some(size), _) => size.to_string(),
        (None, Some((major, minor))) => format!("{major}, {minor}"),
        (None, None) => "-".to_owned(),
    };
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|(_, entry)| {
            [entry.links.to_string(), entry.uid.to_string(), entry.gid.to_string(), size(entry)]
        })
        .collect();
    let mut widths = [0; 4];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let [links, uid, gid, size] = widths;
    for ((name, entry), [a, b, c, d]) in rows.iter().zip(&cells) {
        let target = entry.target.as_ref().map(|target| format!(" -> {target}")).unwrap_or_default();
        writeln!(
            out,
            "{} {a:>links$} {b:>uid$} {c:>gid$} {d:>size$} {} {name}{target}",
            mode(entry),
            entry.mtime
        )?;
    }
    Ok(())
}
