//! What a caller may wish of a FUSE mount.

use composefs::mount::IdMap;

/// Who sees to it that contents are what the image says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verify {
    /// The kernel for objects with fs-verity; the server hashes others before it gives anything of them away.
    #[default]
    Auto,
    /// The kernel, for every object; refused in repositories without fs-verity.
    Kernel,
    /// The kernel for objects with fs-verity, nobody for others.
    Off,
}

/// Whose the files are shown to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owners {
    /// The image's owners, in the user namespace of the server.
    #[default]
    Image,
    /// The image's owners, mapped; an id that no range has becomes 65534.
    Map(IdMap),
    /// One owner for all, for namespaces that have one id.
    One {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// Who may look into the mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Visitors {
    /// Everyone if the process may mount itself, else its user.
    #[default]
    Auto,
    /// Everyone, as permissions in the image allow.
    Everyone,
    /// The user who mounts, whatever the permissions in the image.
    User,
}

/// What a caller may wish of a FUSE mount. The default checks all it gives away and shows the image's owners.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FuseOptions {
    /// Who checks contents.
    pub verify: Verify,
    /// Whose the files are.
    pub owners: Owners,
    /// Who may look.
    pub visitors: Visitors,
    /// Never let the kernel read objects by itself.
    pub no_passthrough: bool,
    /// How many threads answer; 0 takes as many as there are processors, at most 8.
    pub threads: usize,
}

impl FuseOptions {
    /// Sets who checks contents.
    #[must_use]
    pub const fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// Sets whose the files are.
    #[must_use]
    pub fn owners(mut self, owners: Owners) -> Self {
        self.owners = owners;
        self
    }

    /// Sets who may look.
    #[must_use]
    pub const fn visitors(mut self, visitors: Visitors) -> Self {
        self.visitors = visitors;
        self
    }

    /// Sets whether the kernel never reads objects by itself.
    #[must_use]
    pub const fn no_passthrough(mut self, never: bool) -> Self {
        self.no_passthrough = never;
        self
    }

    /// Sets how many threads answer.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}
