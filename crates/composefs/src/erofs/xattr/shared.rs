//! The shared table: which pairs are in it and where.

use crate::digest::ObjectId;

use super::super::error::WriteError;
use super::super::inode;
use super::super::order::{Node, Order};
use super::names::{METACOPY, REDIRECT};
use super::{NOT_SHARED, Value, XattrTable};

/// Inodes with the same object: offsets of its xattrs in the shared table.
pub(super) struct Group {
    pub(super) metacopy: u32,
    pub(super) redirect: u32,
}

/// An entry of the shared table.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) name: u32,
    pub(super) value: Value<'a>,
    target: Target,
}

/// Who wants to know the offset.
#[derive(Clone, Copy)]
enum Target {
    Pair(u32),
    Metacopy(u32),
    Redirect(u32),
}

impl<'a> XattrTable<'a> {
    /// Finds the objects that several inodes have; their xattrs become shared.
    pub(super) fn group_objects(&mut self, order: &Order<'_>) {
        let tree = self.tree;
        let object_of = |number: u32| match order.nodes[number as usize] {
            Node::Tree(id) => inode::object(&tree.inode(id).kind),
            Node::Stub(_) => None,
        };
        // Sorted by the first bytes of the digest, which decide nearly always.
        let mut keys: Vec<(u64, u32)> = (0..order.nodes.len() as u32)
            .filter_map(|number| Some((prefix(object_of(number)?.0), number)))
            .collect();
        keys.sort_unstable();
        for run in keys.chunk_by_mut(|a, b| a.0 == b.0) {
            if run.len() < 2 {
                continue;
            }
            run.sort_by_key(|(_, number)| object_of(*number).map(|(id, _)| *id));
            for same in
                run.chunk_by(|a, b| object_of(a.1).map(|(id, _)| id) == object_of(b.1).map(|(id, _)| id))
            {
                let members = || same.iter().filter_map(|(_, number)| object_of(*number));
                let Some((id, _)) = members().next().filter(|_| same.len() >= 2) else { continue };
                // Fewer than inodes.
                let group = self.groups.len() as u32;
                self.groups.push(Group { metacopy: NOT_SHARED, redirect: NOT_SHARED });
                self.shared.push(Shared {
                    name: REDIRECT,
                    value: Value::Redirect(id),
                    target: Target::Redirect(group),
                });
                if members().filter(|(_, verified)| *verified).count() >= 2 {
                    self.shared.push(Shared {
                        name: METACOPY,
                        value: Value::Metacopy(id),
                        target: Target::Metacopy(group),
                    });
                }
                for (_, number) in same {
                    self.groups_of[*number as usize] = group;
                }
            }
        }
    }

    /// Orders the shared table and gives each entry its offset.
    pub(super) fn lay_out_shared(&mut self) -> Result<(), WriteError> {
        for (number, pair) in self.pairs.iter().enumerate().filter(|(_, pair)| pair.count >= 2) {
            let target = Target::Pair(number as u32);
            self.shared.push(Shared { name: pair.name, value: pair.value, target });
        }
        let ranks = self.name_ranks();
        let rank = |shared: &Shared<'_>| ranks[shared.name as usize];
        if self.version.is_epoch1() {
            self.shared.sort_unstable_by(|a, b| {
                (rank(b), b.value.len())
                    .cmp(&(rank(a), a.value.len()))
                    .then_with(|| b.value.compare(&a.value))
            });
        } else {
            self.shared
                .sort_unstable_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.value.compare(&b.value)));
        }
        for at in 0..self.shared.len() {
            let Shared { name, value, target } = self.shared[at];
            let offset = u32::try_from(self.table_size)
                .ok()
                .filter(|at| *at != NOT_SHARED)
                .ok_or(WriteError::TooLarge)?;
            match target {
                Target::Pair(pair) => self.pairs[pair as usize].shared = offset,
                Target::Metacopy(group) => self.groups[group as usize].metacopy = offset,
                Target::Redirect(group) => self.groups[group as usize].redirect = offset,
            }
            self.table_size += self.entry_size(name, &value);
        }
        Ok(())
    }

    /// Returns for each name its place in the order of the shared table.
    fn name_ranks(&self) -> Vec<u32> {
        let mut sorted: Vec<u32> = (0..self.names.len() as u32).collect();
        if self.version.is_epoch1() {
            sorted.sort_by_key(|number| &self.names[*number as usize].full);
        } else {
            sorted.sort_by_key(|number| {
                let name = &self.names[*number as usize];
                (name.index, name.suffix())
            });
        }
        let mut ranks = vec![0; sorted.len()];
        for (rank, number) in sorted.iter().enumerate() {
            ranks[*number as usize] = rank as u32;
        }
        ranks
    }
}

fn prefix(id: &ObjectId) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
