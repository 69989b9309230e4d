//! What a caller may wish of a container.

use std::path::PathBuf;

/// What a container on the host's network needs to find its way.
pub const NETWORK_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// Which network a container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// One of its own, with loopback alone.
    None,
}

/// A user namespace: which ids there are, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserNamespace {
    /// How many users.
    pub uids: u32,
    /// How many groups; with one alone nobody can be in further ones.
    pub gids: u32,
}

/// Whether a volume may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumeAccess {
    /// Yes.
    #[default]
    ReadWrite,
    /// No.
    ReadOnly,
}

/// A directory or file of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The path on the host, absolute.
    pub source: PathBuf,
    /// The path in the container, absolute.
    pub destination: String,
    /// Whether it may be changed.
    pub access: VolumeAccess,
}

/// Which system calls a container may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// Those of a profile, as the text of a `seccomp.json` of podman's and Docker's kind.
    Profile {
        /// What it is called in errors.
        place: String,
        /// The text.
        text: Vec<u8>,
    },
    /// Those that are harmless: [`super::seccomp::BUILT_IN`].
    BuiltIn,
    /// All.
    Unconfined,
}

/// What a caller may wish of a container. The default is what the image says, with the host's network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BundleOptions {
    /// Instead of the image's `Cmd`.
    pub command: Vec<String>,
    /// Instead of the image's `Entrypoint`, whose `Cmd` is then left out, too; an empty one is none.
    pub entrypoint: Option<Vec<String>>,
    /// Variables over those of the image, `NAME=VALUE`.
    pub env: Vec<String>,
    /// Instead of the image's working directory.
    pub working_directory: Option<String>,
    /// Instead of the image's user: `USER[:GROUP]`.
    pub user: Option<String>,
    /// The name of the machine inside.
    pub hostname: String,
    /// Whether the process has a terminal.
    pub terminal: bool,
    /// Whether the root file system may be changed.
    pub read_only: bool,
    /// Which network.
    pub network: Network,
    /// Files of the host that can be read at the same place inside, as [`NETWORK_FILES`] on the host's network.
    pub host_files: Vec<String>,
    /// What of the host is there.
    pub volumes: Vec<Volume>,
    /// Capabilities over the default ones.
    pub add_capabilities: Vec<String>,
    /// Capabilities to leave out.
    pub drop_capabilities: Vec<String>,
    /// System calls.
    pub seccomp: Seccomp,
    /// Whether programs with set-id bits and file capabilities give no more than one has.
    pub no_new_privileges: bool,
    /// The user namespace that the runtime itself runs in, where neither sysfs nor a cgroup of its own can be had.
    pub namespace: Option<UserNamespace>,
}

impl Default for BundleOptions {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            entrypoint: None,
            env: Vec::new(),
            working_directory: None,
            user: None,
            hostname: "container".to_owned(),
            terminal: false,
            read_only: false,
            network: Network::default(),
            host_files: Vec::new(),
            volumes: Vec::new(),
            add_capabilities: Vec::new(),
            drop_capabilities: Vec::new(),
            seccomp: Seccomp::BuiltIn,
            no_new_privileges: false,
            namespace: None,
        }
    }
}
