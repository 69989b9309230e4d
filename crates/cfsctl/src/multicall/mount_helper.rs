//! `mount.composefs`: the helper that mount(8) calls.

use std::{
    io::BufReader,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::Parser;
use composefs::{
    digest::{Algorithm, ObjectId, VerityHasher},
    mount::{Access, ImageSource, MountOptions, MountPlan, VerityPolicy, measure_image},
};

use crate::ui::error::Usage;

/// Mount a composefs image
///
/// Options for -o: basedir=DIR, digest=HEX, verity, tryverity, ro, rw, upperdir=DIR, workdir=DIR
#[derive(Debug, Parser)]
#[command(name = "mount.composefs", version)]
pub(crate) struct MountHelper {
    /// The image file
    image: PathBuf,
    /// Where to mount it
    mountpoint: PathBuf,
    /// The type of file system; only composefs
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
    /// Mount options, separated by commas (can be repeated)
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
}

#[derive(Default)]
struct Wanted {
    basedir: Option<PathBuf>,
    digest: Option<String>,
    verity: Option<VerityPolicy>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
    writable: bool,
}

impl MountHelper {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if let Some(kind) = self.kind.as_deref().filter(|kind| *kind != "composefs") {
            bail!(Usage(format!("file system type {kind} is not composefs")));
        }
        let wanted = parse(&self.options)?;
        let Some(basedir) = &wanted.basedir else {
            bail!(Usage("the option basedir=DIR is missing".to_owned()))
        };
        let image =
            std::fs::File::open(&self.image).with_context(|| format!("open {}", self.image.display()))?;
        let objects = std::fs::File::open(basedir).with_context(|| format!("open {}", basedir.display()))?;
        if let Some(digest) = &wanted.digest {
            check(&image, digest, &self.image)?;
        }
        let mut options = MountOptions::default().verity(wanted.verity.unwrap_or(VerityPolicy::Off));
        match (&wanted.upper, &wanted.work) {
            (Some(upper), Some(work)) => options = options.upper(upper, work),
            (None, None) => {}
            _ => bail!(Usage("upperdir and workdir need each other".to_owned())),
        }
        if wanted.writable {
            options = options.access(Access::ReadWrite);
        }
        let source = ImageSource {
            id: identify(&image, &self.image)?,
            name: self.image.display().to_string(),
            image: image.into(),
            objects: objects.into(),
            verified: matches!(wanted.verity, Some(VerityPolicy::Require | VerityPolicy::On)),
            repository: None,
        };
        MountPlan::of(source, &options)?
            .apply(&self.mountpoint)
            .with_context(|| format!("mount {} at {}", self.image.display(), self.mountpoint.display()))?;
        Ok(())
    }
}

fn parse(lists: &[String]) -> anyhow::Result<Wanted> {
    let mut wanted = Wanted::default();
    for option in lists.iter().flat_map(|list| list.split(',')).filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("basedir", dir)) => {
                if dir.contains(':') {
                    bail!(Usage("several directories in basedir are not supported".to_owned()));
                }
                wanted.basedir = Some(dir.into());
            }
            Some(("digest", digest)) => wanted.digest = Some(digest.to_owned()),
            Some(("upperdir", dir)) => wanted.upper = Some(dir.into()),
            Some(("workdir", dir)) => wanted.work = Some(dir.into()),
            None if option == "verity" => wanted.verity = Some(VerityPolicy::Require),
            None if option == "tryverity" => wanted.verity = Some(VerityPolicy::On),
            None if option == "rw" => wanted.writable = true,
            None if option == "ro" => wanted.writable = false,
            _ => bail!(Usage(format!("unknown mount option {option}"))),
        }
    }
    Ok(wanted)
}

/// The image's id, which the mount is known by.
fn identify(image: &std::fs::File, path: &Path) -> anyhow::Result<ObjectId> {
    let mut hasher = VerityHasher::new(Algorithm::Sha256);
    std::io::copy(&mut BufReader::with_capacity(256 * 1024, image), &mut hasher)
        .with_context(|| format!("read {}", path.display()))?;
    Ok(hasher.finish())
}

/// The image must have fs-verity, and that digest.
fn check(image: &std::fs::File, digest: &str, path: &Path) -> anyhow::Result<()> {
    let expected =
        ObjectId::from_any_hex(digest).map_err(|error| Usage(format!("digest={digest}: {error}")))?;
    let measured = measure_image(image.as_fd(), expected.algorithm())
        .with_context(|| format!("measure {}", path.display()))?;
    match measured {
        Some(id) if id == expected => Ok(()),
        Some(id) => bail!("{} has the digest {id}, not {expected}", path.display()),
        None => bail!("{} has no fs-verity, so that its digest cannot be relied on", path.display()),
    }
}
