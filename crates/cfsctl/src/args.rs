//! What may be typed: the global options. Each verb's own arguments stand with the verb.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use composefs::{digest::Algorithm, erofs::FormatVersion};

use crate::cmd::Command;

/// Composefs repositories, and the OCI images in them.
#[derive(Debug, Parser)]
#[command(name = "cfsctl", version, max_term_width = 100, disable_help_subcommand = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Work on the repository in this directory
    #[arg(long, value_name = "DIR", global = true, conflicts_with_all = ["user", "system"])]
    pub(crate) repo: Option<PathBuf>,
    /// Work on the user's repository, $HOME/.var/lib/composefs
    #[arg(long, global = true, conflicts_with = "system")]
    pub(crate) user: bool,
    /// Work on the system's repository, /sysroot/composefs
    #[arg(long, global = true)]
    pub(crate) system: bool,
    /// The fs-verity hash; default: the repository's
    #[arg(long, value_name = "HASH", global = true)]
    pub(crate) hash: Option<Hash>,
    /// The EROFS format of images made by this run; default: the repository's
    #[arg(long, value_name = "FORMAT", global = true)]
    pub(crate) erofs_version: Option<ErofsVersion>,
    /// Refuse a repository without fs-verity
    #[arg(long, global = true)]
    pub(crate) require_verity: bool,
    /// Leave repositories of older versions as they are; what must write to one fails
    #[arg(long, global = true)]
    pub(crate) no_upgrade: bool,
    /// Refuse to make a repository where there is none
    #[arg(long, global = true)]
    pub(crate) no_create: bool,
    /// Use no repository; for compute-id, compute-karg, create-dumpfile and oci pull --dry-run
    #[arg(long, global = true, conflicts_with_all = ["repo", "user", "system"])]
    pub(crate) no_repo: bool,
    /// Treat the repository as one without fs-verity
    #[arg(long, global = true, hide = true, conflicts_with = "require_verity")]
    pub(crate) insecure: bool,
    /// Refuse what upstream refuses: layers without parent directories, images without /usr, sparse files
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// How progress is shown; auto: bars on a terminal, else a line for each layer
    #[arg(long, value_name = "HOW", global = true, default_value = "auto")]
    pub(crate) progress: ProgressMode,
    /// Threads for imports and checks; default: one for each core
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// Say less: only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more (can be repeated)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The hashes of fs-verity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hash {
    /// 32-byte digests
    Sha256,
    /// 64-byte digests
    Sha512,
}

impl From<Hash> for Algorithm {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256,
            Hash::Sha512 => Self::Sha512,
        }
    }
}

/// The formats of composefs images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ErofsVersion {
    /// The C tools' first format
    #[value(name = "0")]
    V0,
    /// The C tools' format; the default
    #[value(name = "1")]
    V1,
    /// The first Rust format
    #[value(name = "2")]
    V2,
}

impl From<ErofsVersion> for FormatVersion {
    fn from(version: ErofsVersion) -> Self {
        match version {
            ErofsVersion::V0 => Self::V0,
            ErofsVersion::V1 => Self::V1,
            ErofsVersion::V2 => Self::V2,
        }
    }
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, else plain
    Auto,
    /// Bars
    Bar,
    /// A line for each layer
    Plain,
    /// A JSON document for each event
    Json,
    /// Nothing
    None,
}
