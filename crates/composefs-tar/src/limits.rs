//! What a parser accepts, and how much of it.

/// How close to the upstream tools a parser stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Takes what real images contain: sparse members, repeated extension headers, large PAX headers.
    #[default]
    Lenient,
    /// Refuses these, as upstream does.
    Strict,
}

/// Bounds on what a parser keeps in memory for one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of all extension headers' data before one member; 64 MiB, in strict mode never more than 1 MiB.
    pub extension_bytes: u64,
    /// Extension headers before one member; 16.
    pub extension_headers: u32,
    /// Bytes of a name or of a link's target; 1 MiB, which is more than any tree holds.
    pub name_bytes: usize,
    /// Bytes of the names and values of all extended attributes of one member; 1 MiB, of which images hold 64 KiB.
    pub xattr_bytes: usize,
    /// Segments in a sparse map, 16 bytes of memory each; 1,048,576.
    pub sparse_segments: usize,
    /// Bytes of an expanded sparse file, which costs an archive next to nothing; 64 GiB.
    pub sparse_size: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            extension_bytes: 64 << 20,
            extension_headers: 16,
            name_bytes: 1 << 20,
            xattr_bytes: 1 << 20,
            sparse_segments: 1 << 20,
            sparse_size: 64 << 30,
        }
    }
}

impl Limits {
    /// Sets [`extension_bytes`](Self::extension_bytes).
    #[must_use]
    pub fn extension_bytes(mut self, bytes: u64) -> Self {
        self.extension_bytes = bytes;
        self
    }

    /// Sets [`extension_headers`](Self::extension_headers).
    #[must_use]
    pub fn extension_headers(mut self, headers: u32) -> Self {
        self.extension_headers = headers;
        self
    }

    /// Sets [`name_bytes`](Self::name_bytes).
    #[must_use]
    pub fn name_bytes(mut self, bytes: usize) -> Self {
        self.name_bytes = bytes;
        self
    }

    /// Sets [`xattr_bytes`](Self::xattr_bytes).
    #[must_use]
    pub fn xattr_bytes(mut self, bytes: usize) -> Self {
        self.xattr_bytes = bytes;
        self
    }

    /// Sets [`sparse_segments`](Self::sparse_segments).
    #[must_use]
    pub fn sparse_segments(mut self, segments: usize) -> Self {
        self.sparse_segments = segments;
        self
    }

    /// Sets [`sparse_size`](Self::sparse_size), in bytes.
    #[must_use]
    pub fn sparse_size(mut self, bytes: u64) -> Self {
        self.sparse_size = bytes;
        self
    }
}

/// Options of a [`Parser`](crate::Parser).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Options {
    /// Lenient by default.
    pub mode: Mode,
    /// Bounds on memory.
    pub limits: Limits,
}

impl Options {
    /// Sets the mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The bound on extension data that holds in this mode.
    pub(crate) fn extension_bytes(&self) -> u64 {
        match self.mode {
            Mode::Lenient => self.limits.extension_bytes,
            Mode::Strict => self.limits.extension_bytes.min(1 << 20),
        }
    }
}
