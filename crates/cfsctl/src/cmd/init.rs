//! `cfsctl init`

use std::{io::Write as _, path::PathBuf};

use clap::Args;
use composefs::{
    digest::VerityAlgorithm,
    erofs::FormatVersion,
    repo::{ErofsFormats, InitOptions, InitOutcome},
};
use rustix::fs::CWD;

use crate::{
    app::{App, make_parents},
    args::ErofsVersion,
    ui,
};

/// Make a repository
///
/// The directory is made if it is missing. Without --insecure the file system must have fs-verity, and every object
/// will have it too.
///
/// Example: cfsctl init --algorithm fsverity-sha256-12 /var/lib/images
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The directory; default: what --repo, --user or --system say
    path: Option<PathBuf>,
    /// The algorithm of object ids
    #[arg(long, value_name = "ALGORITHM")]
    algorithm: Option<VerityAlgorithm>,
    /// Make a repository without fs-verity: integrity then rests on user space
    #[arg(long)]
    insecure: bool,
    /// Remove streams, images and meta.json of an older repository and keep its objects
    #[arg(long)]
    reset_metadata: bool,
    /// Take a repository that is there as it is, whatever its EROFS format
    #[arg(long)]
    ensure: bool,
    /// The EROFS format of new images [default: 1]
    #[arg(long, value_name = "FORMAT")]
    erofs_version: Option<ErofsVersion>,
}

impl Init {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let path = match self.path {
            Some(path) => path,
            None => app.path()?,
        };
        let algorithm = match (self.algorithm, app.global.hash) {
            (Some(VerityAlgorithm(algorithm)), _) => algorithm,
            (None, Some(hash)) => hash.into(),
            (None, None) => composefs::digest::Algorithm::Sha512,
        };
        let version =
            self.erofs_version.or(app.global.erofs_version).map_or(FormatVersion::V1, FormatVersion::from);
        make_parents(&path)?;
        let insecure = self.insecure || app.global.insecure;
        let options = InitOptions::new(algorithm)
            .erofs(ErofsFormats::only(version))
            .insecure(insecure)
            .ensure(self.ensure)
            .reset_metadata(self.reset_metadata);
        let outcome = composefs::repo::init(CWD, &path, &options)?;
        let mut out = ui::out();
        let path = path.display();
        match outcome {
            InitOutcome::Created => {
                writeln!(out, "Initialized composefs repository at {path}")?;
                writeln!(out, "  algorithm: {}", VerityAlgorithm(algorithm))?;
                writeln!(
                    out,
                    "  verity:    {}",
                    if insecure { "not required (insecure)" } else { "required" }
                )?;
            }
            InitOutcome::AlreadyInitialized if !self.ensure => {
                writeln!(out, "Repository already initialized at {path}")?;
            }
            InitOutcome::AlreadyInitialized | InitOutcome::Preserved => {
                writeln!(out, "Repository already initialized at {path} (existing configuration preserved)")?;
            }
            InitOutcome::Upgraded => writeln!(out, "Upgraded legacy repository at {path}")?,
        }
        Ok(())
    }
}
