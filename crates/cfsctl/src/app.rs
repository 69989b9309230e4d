//! Global options to an open repository.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use composefs::{
    digest::Algorithm,
    erofs::FormatVersion,
    progress::Observer,
    repo::{ErofsFormats, InitOptions, OpenOptions, Repository, Writer, fan_out},
};
use composefs_tar::Mode;
use rustix::fs::CWD;

use crate::{
    args::{Global, ProgressMode},
    env, ui,
};

/// What the system's repository is called.
const SYSTEM: &str = "/sysroot/composefs";

/// The global options, and what follows from them.
pub(crate) struct App {
    pub(crate) global: Global,
}

impl App {
    pub(crate) const fn new(global: Global) -> Self {
        Self { global }
    }

    /// Where the repository is.
    pub(crate) fn path(&self) -> anyhow::Result<PathBuf> {
        if self.global.no_repo {
            bail!(ui::error::Usage("this verb needs a repository; --no-repo forbids one".to_owned()));
        }
        if let Some(path) = &self.global.repo {
            return Ok(path.clone());
        }
        if self.global.system || (!self.global.user && rustix::process::geteuid().is_root()) {
            return Ok(SYSTEM.into());
        }
        let home = std::env::var_os(env::HOME).filter(|home| !home.is_empty()).context("$HOME is not set")?;
        Ok(Path::new(&home).join(".var/lib/composefs"))
    }

    /// The same options for the repository in a directory.
    pub(crate) fn at(&self, path: PathBuf) -> Self {
        let global = Global { repo: Some(path), user: false, system: false, ..self.global.clone() };
        Self { global }
    }

    /// How the program is called for the same repository: its name, and the option that chose the repository.
    pub(crate) fn called(&self) -> Vec<String> {
        let mut words = vec!["cfsctl".to_owned()];
        if let Some(path) = &self.global.repo {
            words.extend(["--repo".to_owned(), path.to_string_lossy().into_owned()]);
        } else if self.global.user {
            words.push("--user".to_owned());
        } else if self.global.system {
            words.push("--system".to_owned());
        }
        words
    }

    fn options(&self) -> OpenOptions {
        OpenOptions::default()
            .algorithm(self.global.hash.map(Algorithm::from))
            .require_verity(self.global.require_verity)
            .force_insecure(self.global.insecure)
            .no_upgrade(self.global.no_upgrade)
    }

    /// Opens the repository for reading.
    pub(crate) fn repository(&self) -> anyhow::Result<Repository> {
        Ok(Repository::open(CWD, self.path()?, &self.options())?)
    }

    /// Opens the repository for reading, if there is one.
    pub(crate) fn repository_if_any(&self) -> anyhow::Result<Option<Repository>> {
        if self.global.no_repo || is_vacant(&self.path()?) {
            return Ok(None);
        }
        self.repository().map(Some)
    }

    /// Opens the repository for writing.
    pub(crate) fn writer(&self) -> anyhow::Result<Writer> {
        let old = self.repository()?;
        let upgrade = old.is_old();
        let path = self.path()?;
        let writer = old.into_writer()?;
        if upgrade && !self.global.quiet {
            self.note(&format!(
                "upgraded the repository at {}: it has a meta.json now and stays on EROFS format 2",
                path.display()
            ));
        }
        Ok(writer)
    }

    /// Says something on stderr, as an event where stderr has those.
    fn note(&self, text: &str) {
        match self.global.progress {
            ProgressMode::Json => crate::ui::say!("{}", serde_json::json!({"event": "note", "text": text})),
            _ => crate::ui::say!("{text}"),
        }
    }

    /// Opens the repository for writing, making it where there is none: with fs-verity if the file system has it.
    pub(crate) fn writer_or_create(&self) -> anyhow::Result<Writer> {
        let path = self.path()?;
        if !self.global.no_create && is_vacant(&path) {
            let algorithm = self.global.hash.map_or(Algorithm::Sha512, Algorithm::from);
            let version = self.global.erofs_version.map_or(FormatVersion::V1, FormatVersion::from);
            make_parents(&path)?;
            let options = InitOptions::new(algorithm).erofs(ErofsFormats::only(version));
            let verified = !self.global.insecure
                && composefs::repo::init(CWD, &path, &options).map(|_| true).or_else(
                    |error| match error {
                        composefs::Error::VerityUnsupported { .. } if !self.global.require_verity => {
                            Ok(false)
                        }
                        error => Err(error),
                    },
                )?;
            if !verified {
                composefs::repo::init(CWD, &path, &options.insecure(true))?;
            }
            if !self.global.quiet {
                let how = if verified {
                    "with fs-verity"
                } else {
                    "without fs-verity: integrity rests on user space"
                };
                self.note(&format!("made a repository at {} ({algorithm}, {how})", path.display()));
            }
        }
        self.writer()
    }

    /// The algorithm for work that may do without a repository: its own, else `--hash`, else sha512.
    pub(crate) fn algorithm_anyhow(&self) -> anyhow::Result<Algorithm> {
        if let Some(hash) = self.global.hash {
            return Ok(hash.into());
        }
        if self.global.no_repo {
            return Ok(Algorithm::Sha512);
        }
        let given = self.global.repo.is_some() || self.global.user || self.global.system;
        match self.repository() {
            Ok(repo) => Ok(repo.algorithm()),
            Err(error) if given => Err(error),
            Err(_) => Ok(Algorithm::Sha512),
        }
    }

    /// The format of images: `--erofs-version`, else the repository's default.
    pub(crate) fn version(&self, repo: &Repository) -> FormatVersion {
        self.global.erofs_version.map_or_else(|| repo.erofs_formats().default, FormatVersion::from)
    }

    /// The format of images made without a repository.
    pub(crate) fn version_alone(&self) -> FormatVersion {
        self.global.erofs_version.map_or(FormatVersion::V1, FormatVersion::from)
    }

    pub(crate) const fn mode(&self) -> Mode {
        if self.global.strict { Mode::Strict } else { Mode::Lenient }
    }

    pub(crate) fn jobs(&self) -> usize {
        self.global.jobs.map_or_else(fan_out::processors, usize::from)
    }

    pub(crate) fn observer(&self) -> Box<dyn Observer> {
        ui::progress::observer(&self.global)
    }
}

/// Makes the directories above the repository.
pub(crate) fn make_parents(path: &Path) -> anyhow::Result<()> {
    let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    let missing: Vec<&Path> = parents.take_while(|parent| !parent.exists()).collect();
    for parent in missing.into_iter().rev() {
        let made = || -> std::io::Result<()> {
            match std::fs::create_dir(parent) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                result => result?,
            }
            // Its name must outlive a power cut as the repository will. Where names may be made and not be listed, the
            // kernel syncs when it sees fit.
            match std::fs::File::open(parent.join("..")) {
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
                above => above?.sync_all(),
            }
        };
        made().with_context(|| format!("make {}", parent.display()))?;
    }
    Ok(())
}

/// Tells whether nothing is there yet, or a directory with nothing in it.
fn is_vacant(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
