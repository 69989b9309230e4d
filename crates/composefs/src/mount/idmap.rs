//! Which owners a mount shows instead of the image's.

use std::{fmt, io, os::fd::OwnedFd, str::FromStr};

use rustix::fs::{Mode, OFlags};

use crate::error::Result;

/// The most ranges of one map; the kernel's limit.
const RANGES_MAX: usize = 340;

/// A run of ids of the image, and what they are shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdRange {
    /// The first id in the image.
    pub container: u32,
    /// What that one is shown as; those after it follow.
    pub host: u32,
    /// How many there are, above 0.
    pub size: u32,
}

/// Ranges of ids, none of which overlap on either side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(Vec<IdRange>);

/// Why ranges are no map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdMapError {
    /// Not three numbers.
    #[error("{0:?} is not CONTAINER:HOST:SIZE")]
    Form(String),
    /// A range of none, or one that ends above 2^32 - 2.
    #[error("{0} is empty or reaches beyond the highest id")]
    Range(IdRange),
    /// Two ranges have ids in common.
    #[error("{0} and {1} overlap")]
    Overlap(IdRange, IdRange),
    /// More ranges than the kernel takes.
    #[error("more than {RANGES_MAX} ranges")]
    TooMany,
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.container, self.host, self.size)
    }
}

impl FromStr for IdRange {
    type Err = IdMapError;

    fn from_str(text: &str) -> Result<Self, IdMapError> {
        let form = || IdMapError::Form(text.chars().take(64).collect());
        let mut numbers = text.split(':').map(|number| {
            // `+1` is a number to Rust.
            number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten()
        });
        let mut next = || numbers.next().flatten().ok_or_else(form);
        let range = Self { container: next()?, host: next()?, size: next()? };
        if numbers.next().is_some() {
            return Err(form());
        }
        range.check()?;
        Ok(range)
    }
}

impl IdRange {
    fn check(self) -> Result<(), IdMapError> {
        // The highest number is no id, so what comes after a range is a number, too.
        let ends = |first: u32| first.checked_add(self.size).is_some();
        if self.size > 0 && ends(self.container) && ends(self.host) {
            Ok(())
        } else {
            Err(IdMapError::Range(self))
        }
    }
}

fn overlap(a: u32, b: u32, a_size: u32, b_size: u32) -> bool {
    a < b.saturating_add(b_size) && b < a.saturating_add(a_size)
}

impl IdMap {
    /// Takes ranges that do not overlap.
    ///
    /// # Errors
    /// [`IdMapError`].
    pub fn new(ranges: Vec<IdRange>) -> Result<Self, IdMapError> {
        if ranges.len() > RANGES_MAX {
            return Err(IdMapError::TooMany);
        }
        for (index, a) in ranges.iter().enumerate() {
            a.check()?;
            let other = ranges.iter().skip(index.saturating_add(1)).find(|b| {
                overlap(a.container, b.container, a.size, b.size) || overlap(a.host, b.host, a.size, b.size)
            });
            if let Some(b) = other {
                return Err(IdMapError::Overlap(*a, *b));
            }
        }
        Ok(Self(ranges))
    }

    /// Tells whether there are no ranges.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the ranges.
    #[must_use]
    pub fn ranges(&self) -> &[IdRange] {
        &self.0
    }

    /// Returns what an id of the image is shown as; `None` if no range has it.
    #[must_use]
    pub fn host(&self, container: u32) -> Option<u32> {
        self.0.iter().find_map(|range| {
            let offset = container.checked_sub(range.container).filter(|offset| *offset < range.size)?;
            range.host.checked_add(offset)
        })
    }

    /// Returns the map as the kernel's `uid_map` has it.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().map(|range| format!("{} {} {}\n", range.container, range.host, range.size)).collect()
    }

    /// Makes a user namespace with this map, for users and groups.
    ///
    /// # Errors
    /// The kernel's: `EPERM` for who may not map these ids.
    pub(crate) fn namespace(&self) -> io::Result<OwnedFd> {
        let text = self.to_text();
        composefs_linux::user_namespace::create(|pid| {
            for name in ["uid_map", "gid_map"] {
                let path = format!("/proc/{pid}/{name}");
                let file = rustix::io::retry_on_intr(|| {
                    rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                })?;
                // The kernel takes the whole map in one write or not at all.
                rustix::io::write(&file, text.as_bytes())?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[&str]) -> Result<IdMap, IdMapError> {
        IdMap::new(ranges.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
    }

    #[test]
    fn ids_are_shifted() {
        let map = map(&["0:100000:10", "10:5:1", "1000:200000:65536"]).unwrap();
        for (container, host) in [
            (0, Some(100_000)),
            (9, Some(100_009)),
            (10, Some(5)),
            (11, None),
            (999, None),
            (1000, Some(200_000)),
            (66_535, Some(265_535)),
            (66_536, None),
            (u32::MAX, None),
        ] {
            assert_eq!(map.host(container), host, "{container}");
        }
        assert_eq!(map.to_text(), "0 100000 10\n10 5 1\n1000 200000 65536\n");
        assert!(IdMap::default().is_empty());
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for text in
            ["", "0", "0:0", "0:0:1:", "0:0:1:1", "a:0:1", "+0:0:1", "-1:0:1", ":0:1", "0:4294967296:1"]
        {
            assert!(matches!(text.parse::<IdRange>(), Err(IdMapError::Form(_))), "{text}");
        }
        for text in ["0:0:0", "4294967295:0:1", "0:4294967290:6", "1:0:4294967295"] {
            assert!(matches!(text.parse::<IdRange>(), Err(IdMapError::Range(_))), "{text}");
        }
        assert!("0:0:4294967295".parse::<IdRange>().is_ok());
        for ranges in [["0:0:2", "1:9:1"], ["0:0:2", "9:1:1"], ["5:5:1", "5:6:1"]] {
            assert!(matches!(map(&ranges), Err(IdMapError::Overlap(..))), "{ranges:?}");
        }
        let many = (0..341).map(|n| IdRange { container: n, host: n, size: 1 }).collect();
        assert_eq!(IdMap::new(many), Err(IdMapError::TooMany));
    }
}
