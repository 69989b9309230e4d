//! Names of streams, images and refs, checked where they are made.
//!
//! # Format
//! `docs/formats/repository.md`, sections 1 and 4.

use std::fmt;

/// The longest file name the kernel takes, in bytes.
pub const FILE_NAME_MAX: usize = 255;

/// The most components of a ref, made or read.
pub const REF_COMPONENTS_MAX: usize = 256;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing in it, or in one of its components.
    #[error("name {0:?} is empty or has an empty component")]
    Empty(String),
    /// `.` or `..` as a component.
    #[error("name {0:?} has a component `.` or `..`")]
    Dots(String),
    /// A NUL, or a slash where none may be.
    #[error("name {0:?} has a character no file name can have")]
    Character(String),
    /// A component longer than 255 bytes, once encoded.
    #[error("name {name:?} is too long: {bytes} bytes of at most 255")]
    TooLong {
        /// The name as given.
        name: String,
        /// Its bytes as a file name.
        bytes: usize,
    },
    /// More components than a ref may have.
    #[error("name has {0} components of at most {REF_COMPONENTS_MAX}")]
    TooDeep(usize),
    /// A tag that begins with `@`, which is how the command line writes digests.
    #[error("tag {0:?} begins with `@`, which is kept for digests")]
    At(String),
}

fn check_component(whole: &str, component: &str) -> Result<(), NameError> {
    if component.is_empty() {
        return Err(NameError::Empty(whole.to_owned()));
    }
    if component == "." || component == ".." {
        return Err(NameError::Dots(whole.to_owned()));
    }
    if component.contains(['\0', '/']) {
        return Err(NameError::Character(whole.to_owned()));
    }
    if component.len() > FILE_NAME_MAX {
        return Err(NameError::TooLong { name: whole.to_owned(), bytes: component.len() });
    }
    Ok(())
}

/// The content identifier of a stream: the name of its entry in `streams/`, one component, not `refs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(String);

impl StreamName {
    /// Takes a name.
    ///
    /// # Errors
    /// As [`NameError`] says.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check_component(&name, &name)?;
        if name == "refs" {
            return Err(NameError::Character(name));
        }
        Ok(Self(name))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The path of a ref below `refs/`: one or more components.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefName(String);

impl RefName {
    /// Takes a path; absolute paths and empty, `.` and `..` components are refused.
    ///
    /// # Errors
    /// As [`NameError`] says.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let mut count = 0_usize;
        for component in name.split('/') {
            check_component(&name, component)?;
            count = count.saturating_add(1);
        }
        if count > REF_COMPONENTS_MAX {
            return Err(NameError::TooDeep(count));
        }
        Ok(Self(name))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the components.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Encodes a tag, or a digest, as one file name: `%` as `%25`, `/` as `%2F`, nothing else.
#[must_use]
pub fn encode_component(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2F")
}

/// Decodes what [`encode_component`] made; other `%xx` stay as they are.
#[must_use]
pub fn decode_component(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix("2F") {
            out.push('/');
            after
        } else if let Some(after) = after.strip_prefix("25") {
            out.push('%');
            after
        } else {
            out.push('%');
            after
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_encoded_as_upstream_does() {
        for (tag, file) in
            [("a/b", "a%2Fb"), ("1.0%beta", "1.0%25beta"), ("%2F", "%252F"), ("ü :@x", "ü :@x")]
        {
            assert_eq!(encode_component(tag), file);
            assert_eq!(decode_component(file), tag);
        }
        assert_eq!(decode_component("%2f%41%"), "%2f%41%");
    }

    #[test]
    fn refs_stay_below_their_directory() {
        for bad in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a\0b"] {
            assert!(RefName::new(bad).is_err(), "{bad:?}");
        }
        assert!(RefName::new("x".repeat(256)).is_err());
        assert!(RefName::new(["x"; REF_COMPONENTS_MAX].join("/")).is_ok());
        assert!(RefName::new(["x"; REF_COMPONENTS_MAX + 1].join("/")).is_err());
        assert_eq!(RefName::new("some/dir/layer.tar").unwrap().components().count(), 3);
        assert!(StreamName::new("a/b").is_err());
        assert!(StreamName::new("refs").is_err());
    }
}
