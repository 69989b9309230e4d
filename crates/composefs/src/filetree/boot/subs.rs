//! Paths that are labelled as if they were others.

use std::collections::HashMap;

use super::SpecFault;

const PATH_MAX: usize = 4096;

/// Path to path.
#[derive(Debug, Default)]
pub(super) struct Substitutions(HashMap<Box<[u8]>, Box<[u8]>>);

impl Substitutions {
    /// Takes a line `PATH INSTEAD`; a later line of the same path wins.
    pub(super) fn add(&mut self, line: &str) -> Result<(), SpecFault> {
        let mut fields = line.split_whitespace();
        let path = fields.next().ok_or(SpecFault::Missing)?;
        let instead = fields.next().ok_or(SpecFault::Missing)?;
        if fields.next().is_some() {
            return Err(SpecFault::Trailing);
        }
        if instead.len() > PATH_MAX {
            return Err(SpecFault::LongPath(instead.len()));
        }
        self.0.insert(path.as_bytes().into(), instead.as_bytes().into());
        Ok(())
    }

    pub(super) fn get(&self, path: &[u8]) -> Option<&[u8]> {
        self.0.get(path).map(|instead| &**instead)
    }
}

/// The path by which an inode is labelled, while a tree is walked depth first.
///
/// All paths from the root down lie in one buffer: a substituted path behind the one it stands for. So the
/// memory is that of one path, and of a substitution per level.
#[derive(Debug)]
pub(super) struct WalkPath {
    buffer: Vec<u8>,
    /// Where the path of each level starts and ends.
    levels: Vec<(usize, usize)>,
}

impl WalkPath {
    pub(super) fn new() -> Self {
        Self { buffer: vec![b'/'], levels: vec![(0, 1)] }
    }

    /// Goes to `name` in the directory that was last entered at `depth - 1`; the root has depth 0.
    pub(super) fn enter(&mut self, depth: usize, name: &[u8], substitutions: &Substitutions) -> &[u8] {
        self.levels.truncate(depth.max(1));
        let (mut start, end) = self.levels.last().copied().unwrap_or((0, 1));
        self.buffer.truncate(end);
        if self.buffer.last() != Some(&b'/') {
            self.buffer.push(b'/');
        }
        self.buffer.extend_from_slice(name);
        if let Some(instead) = self.buffer.get(start..).and_then(|path| substitutions.get(path)) {
            start = self.buffer.len();
            self.buffer.extend_from_slice(instead);
        }
        self.levels.push((start, self.buffer.len()));
        self.buffer.get(start..).unwrap_or_default()
    }
}
