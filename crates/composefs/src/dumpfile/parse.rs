//! A dumpfile to a tree.
//!
//! Time is linear in the input, memory at most a small multiple of it, and nothing recurses.
//!
//! # Format
//! `docs/formats/dumpfile.md`, section 1.

mod error;
mod fields;

pub use error::{Field, ParseError, Reason};

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use crate::{
    digest::Algorithm,
    filetree::{FileTree, InodeId, InodeKind, Name, TreeError},
};

use fields::Meaning;

/// What a dumpfile says.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree.
    pub tree: FileTree,
    /// For each leaf with several names the one of its full line: directory and name.
    pub primary_names: BTreeMap<InodeId, (InodeId, Name)>,
}

/// Parses a whole dumpfile whose digests are of `algorithm`.
///
/// # Errors
/// [`ParseError`] for the first line that breaks a rule; links that lead nowhere are found after the last line.
pub fn parse(bytes: &[u8], algorithm: Algorithm) -> Result<Parsed, ParseError> {
    let mut lines = bytes
        .split(|&byte| byte == b'\n')
        .enumerate()
        .map(|(at, text)| (at.saturating_add(1), text))
        .filter(|(_, text)| !text.is_empty());
    let (line, text) = lines.next().ok_or(ParseError { line: 1, reason: Reason::NoRoot })?;
    let mut parser = root(text, algorithm).map_err(|reason| ParseError { line, reason })?;
    for (line, text) in lines {
        fields::line(text, algorithm)
            .and_then(|(path, meaning)| parser.add(line, path, meaning))
            .map_err(|reason| ParseError { line, reason })?;
    }
    parser.resolve_links()?;
    Ok(Parsed { tree: parser.tree, primary_names: parser.primary_names })
}

fn root<'a>(text: &'a [u8], algorithm: Algorithm) -> Result<Parser<'a>, Reason> {
    let (path, meaning) = fields::line(text, algorithm)?;
    if *path != *b"/" {
        return Err(Reason::RootNotFirst);
    }
    match meaning {
        Meaning::Inode(inode) if inode.kind.is_directory() => Ok(Parser {
            tree: FileTree::new(inode.stat),
            directories: HashMap::from([(Cow::Borrowed(&b""[..]), InodeId::ROOT)]),
            last_directory: (Cow::Borrowed(b""), InodeId::ROOT),
            primary_names: BTreeMap::new(),
            links: Vec::new(),
            link_at: HashMap::new(),
        }),
        _ => Err(Reason::RootNotADirectory),
    }
}

/// The directory and the name in it.
type FullName = (InodeId, Name);

/// A hard link whose target was not there when its line was read.
struct PendingLink<'a> {
    line: usize,
    directory: InodeId,
    name: Name,
    target: Cow<'a, [u8]>,
    resolved: Option<InodeId>,
}

struct Parser<'a> {
    tree: FileTree,
    /// Every directory by its path, `/` by the empty one: looked up once a line instead of walked to.
    directories: HashMap<Cow<'a, [u8]>, InodeId>,
    /// The directory of the last line, which mostly is that of the next.
    last_directory: (Cow<'a, [u8]>, InodeId),
    primary_names: BTreeMap<InodeId, FullName>,
    links: Vec<PendingLink<'a>>,
    link_at: HashMap<FullName, usize>,
}

impl<'a> Parser<'a> {
    fn add(&mut self, line: usize, path: Cow<'a, [u8]>, meaning: Meaning<'a>) -> Result<(), Reason> {
        let (parent, name) = split(&path).ok_or_else(|| Reason::Duplicate(b"/"[..].into()))?;
        let directory = self.directory(&path, parent)?;
        let name = Name::new(name).map_err(|error| Reason::Component(Field::Path, error))?;
        let key = (directory, name);
        let taken = self.tree.entries(directory).is_some_and(|entries| entries.contains_key(&key.1));
        if taken || (!self.link_at.is_empty() && self.link_at.contains_key(&key)) {
            return Err(Reason::Duplicate(path.into()));
        }
        let (directory, name) = key;
        match meaning {
            Meaning::Inode(inode) => {
                let is_directory = inode.kind.is_directory();
                let id = self.tree.insert(directory, name, inode)?;
                if is_directory {
                    self.directories.insert(path, id);
                }
            }
            Meaning::Hardlink(target) => match self.find(&target)? {
                Some((inode, primary)) => self.link(directory, name, inode, primary)?,
                None => {
                    self.link_at.insert((directory, name.clone()), self.links.len());
                    self.links.push(PendingLink { line, directory, name, target, resolved: None });
                }
            },
        }
        Ok(())
    }

    /// Finds the directory at `parent`, the first part of `path`.
    #[expect(clippy::ptr_arg, reason = "what is borrowed from the input stays so")]
    fn directory(&mut self, path: &Cow<'a, [u8]>, parent: &[u8]) -> Result<InodeId, Reason> {
        if *self.last_directory.0 == *parent {
            return Ok(self.last_directory.1);
        }
        let Some(&id) = self.directories.get(parent) else {
            let found = split(parent).is_some_and(|(above, name)| {
                self.directories.get(above).is_some_and(|&above| {
                    self.tree.lookup_in(above, name).is_ok()
                        || Name::new(name).is_ok_and(|name| self.link_at.contains_key(&(above, name)))
                })
            });
            let path = (**path).into();
            return Err(if found { Reason::ParentNotADirectory(path) } else { Reason::NoParent(path) });
        };
        let parent = match path {
            Cow::Borrowed(path) => Cow::Borrowed(path.get(..parent.len()).unwrap_or_default()),
            Cow::Owned(_) => Cow::Owned(parent.to_vec()),
        };
        self.last_directory = (parent, id);
        Ok(id)
    }

    /// Finds the leaf a hard link names, and that name; `None` if it is not in the tree yet.
    fn find(&self, target: &[u8]) -> Result<Option<(InodeId, FullName)>, Reason> {
        let Some((parent, name)) = split(target) else { return Err(Reason::LinkToDirectory) };
        let Some(&directory) = self.directories.get(parent) else { return Ok(None) };
        let Some((name, &inode)) =
            self.tree.entries(directory).and_then(|entries| entries.get_key_value(name))
        else {
            return Ok(None);
        };
        match &self.tree.inode(inode).kind {
            InodeKind::Directory(_) => Err(Reason::LinkToDirectory),
            kind if kind.is_whiteout() => Err(Reason::LinkToWhiteout),
            _ => Ok(Some((inode, (directory, name.clone())))),
        }
    }

    fn link(
        &mut self,
        directory: InodeId,
        name: Name,
        inode: InodeId,
        primary: FullName,
    ) -> Result<(), TreeError> {
        // The first time the only name there is is that of the full line.
        self.primary_names.entry(inode).or_insert(primary);
        self.tree.link(directory, name, inode)
    }

    /// Resolves the links that were met before their targets; each link is passed through once.
    fn resolve_links(&mut self) -> Result<(), ParseError> {
        let mut found = Vec::new();
        for start in 0..self.links.len() {
            let mut chain = Vec::new();
            let mut next = Some(start);
            let mut end = None;
            while let Some(at) = next.take() {
                let Some(link) = self.links.get(at) else { break };
                let error = |reason| ParseError { line: link.line, reason };
                if link.resolved.is_some() {
                    end = link.resolved;
                    break;
                }
                // A chain without a circle passes no link twice, so it is no longer than the list.
                if chain.len() > self.links.len() {
                    return Err(error(Reason::LinkCycle));
                }
                chain.push(at);
                if let Some((inode, primary)) = self.find(&link.target).map_err(error)? {
                    self.primary_names.entry(inode).or_insert(primary);
                    end = Some(inode);
                    break;
                }
                let (parent, name) = split(&link.target).ok_or_else(|| error(Reason::LinkToDirectory))?;
                next = self
                    .directories
                    .get(parent)
                    .and_then(|&parent| Name::new(name).ok().map(|name| (parent, name)))
                    .and_then(|key| self.link_at.get(&key).copied());
                if next.is_none() {
                    return Err(error(Reason::LinkTargetMissing((*link.target).into())));
                }
            }
            for at in chain {
                if let (Some(link), Some(inode)) = (self.links.get_mut(at), end) {
                    link.resolved = Some(inode);
                    found.push(at);
                }
            }
        }
        for at in found {
            let Some(PendingLink { line, directory, name, resolved: Some(inode), .. }) = self.links.get(at)
            else {
                continue;
            };
            self.tree
                .link(*directory, name.clone(), *inode)
                .map_err(|error| ParseError { line: *line, reason: error.into() })?;
        }
        Ok(())
    }
}

/// Splits a checked path into the parent's, the root's being empty, and the name; `None` for the root.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|&byte| byte == b'/')?;
    let (parent, name) = path.split_at_checked(slash)?;
    let name = name.strip_prefix(b"/")?;
    (!name.is_empty()).then_some((parent, name))
}
