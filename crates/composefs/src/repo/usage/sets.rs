//! Which streams and images name each object: a number for each set of them that occurs.

use std::collections::HashMap;

use crate::digest::ObjectId;

/// So much of an id tells it from all others, whatever the algorithm.
type Key = [u8; 32];

/// A set, as another one and a member that was added last.
#[derive(Clone, Copy, Debug)]
struct Set {
    without: u32,
    last: u32,
}

/// The objects met, each with its set. Members are added one after the other, each with all its objects.
#[derive(Debug)]
pub(super) struct Sets {
    objects: HashMap<Key, u32>,
    /// The first is the empty set.
    sets: Vec<Set>,
    member: u32,
    /// The sets that the member at hand has been added to, and what they are with it.
    with_member: HashMap<u32, u32>,
}

impl Default for Sets {
    fn default() -> Self {
        Self {
            objects: HashMap::new(),
            sets: vec![Set { without: 0, last: u32::MAX }],
            member: 0,
            with_member: HashMap::new(),
        }
    }
}

fn key(id: &ObjectId) -> Key {
    id.as_bytes().first_chunk().copied().unwrap_or_default()
}

impl Sets {
    /// Begins with another member, which has not been added yet.
    pub(super) fn begin(&mut self, member: u32) {
        self.member = member;
        self.with_member.clear();
    }

    /// Adds the member at hand to the set of an object.
    pub(super) fn add(&mut self, id: &ObjectId) {
        let set = self.objects.entry(key(id)).or_default();
        if self.sets.get(*set as usize).is_some_and(|found| found.last == self.member) {
            return;
        }
        let (sets, without, last) = (&mut self.sets, *set, self.member);
        *set = *self.with_member.entry(without).or_insert_with(|| {
            sets.push(Set { without, last });
            u32::try_from(sets.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
    }

    /// Returns the set of an object; 0 for what nothing names.
    pub(super) fn set_of(&self, id: &ObjectId) -> usize {
        self.objects.get(&key(id)).map_or(0, |set| *set as usize)
    }

    /// Returns how many sets there are.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// Returns the members of a set.
    pub(super) fn members(&self, set: usize) -> impl Iterator<Item = u32> {
        let mut at = set;
        std::iter::from_fn(move || {
            let set = self.sets.get(at).filter(|_| at != 0)?;
            at = set.without as usize;
            Some(set.last)
        })
    }

    /// Returns how many objects have each set.
    pub(super) fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0_u64; self.sets.len()];
        for set in self.objects.values() {
            if let Some(count) = counts.get_mut(*set as usize) {
                *count = count.saturating_add(1);
            }
        }
        counts
    }
}
