//! What a container is like.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use composefs::{filetree::FileTree, repo::Repository};
use composefs_oci::{
    Error,
    bundle::{
        BundleOptions, NETWORK_FILES, Network, Seccomp, StoredFiles, UserNamespace, Volume, VolumeAccess,
        config_json, seccomp,
    },
    find::{self, ImageKind, Name},
};

use crate::{app::App, cmd::mount::Verity, container::ROOTFS, ui::error::Usage};

/// How an image is run; what is not said is as the image says.
#[derive(Debug, Args)]
pub(crate) struct ContainerArgs {
    /// Give the process a terminal
    #[arg(short = 't', long)]
    pub(crate) tty: bool,
    /// Set a variable; without =VALUE it is taken from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Show a directory or file of the host inside
    #[arg(short, long, value_name = "HOST:INSIDE[:ro]")]
    volume: Vec<String>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User and group, by the image's names or by number
    // --user is whose repository it is.
    #[arg(id = "run_as", short = 'u', long = "run-as", value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Program in place of the image's entry point; a JSON list for one with arguments, empty for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Name of the machine inside
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Let nothing be changed but volumes
    #[arg(long)]
    read_only: bool,
    /// Which network there is
    #[arg(long, value_name = "NETWORK", default_value = "host")]
    net: Net,
    /// Give a capability, or ALL
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// Allow the system calls of a profile, or all: unconfined. Else those of /etc/containers/seccomp.json, of
    /// /usr/share/containers/seccomp.json, or all that don't reach the machine
    #[arg(long, value_name = "FILE")]
    seccomp: Option<PathBuf>,
    /// Let set-id programs give no more privileges
    #[arg(long)]
    no_new_privileges: bool,
    /// Whether the kernel must check every file by fs-verity; auto: in repositories with fs-verity
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) verity: Verity,
    /// Say more (can be repeated)
    // The global option without its -v, which is a volume here as in all tools that run containers.
    #[arg(long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Net {
    /// The host's
    Host,
    /// Loopback alone
    None,
}

impl ContainerArgs {
    /// Makes `config.json` for an image and what to run in place of its command.
    pub(crate) fn config_json(
        &self,
        app: &App,
        repo: &Repository,
        (image, command): (&Name, &[String]),
        hostname: &str,
        namespace: Option<UserNamespace>,
    ) -> anyhow::Result<Vec<u8>> {
        let stored = match find::image(repo, image) {
            Ok(image) => image.config().clone(),
            Err(Error::NotFound(_)) => find::config(repo, image, None)?,
            Err(error) => return Err(error.into()),
        };
        let tree: FileTree = find::tree(repo, image, app.version(repo), ImageKind::Root)?;
        let files = StoredFiles { repo, tree: &tree };
        let mut options = self.options()?;
        command.clone_into(&mut options.command);
        options.namespace = namespace;
        options.hostname = self.hostname.clone().unwrap_or_else(|| hostname.to_owned());
        config_json(&stored.parse()?, &files, ROOTFS, &options).with_context(|| format!("run {image}"))
    }

    fn options(&self) -> anyhow::Result<BundleOptions> {
        let mut options = BundleOptions::default();
        options.entrypoint = self.entrypoint.as_deref().map(entrypoint).transpose()?;
        options.env = self.env.iter().filter_map(|text| variable(text)).collect();
        options.working_directory.clone_from(&self.workdir);
        options.user.clone_from(&self.user);
        options.terminal = self.tty;
        options.read_only = self.read_only;
        options.network = match self.net {
            Net::Host => Network::Host,
            Net::None => Network::None,
        };
        if self.net == Net::Host {
            let there = NETWORK_FILES.into_iter().filter(|path| std::path::Path::new(path).is_file());
            options.host_files = there.map(str::to_owned).collect();
        }
        options.volumes = self.volume.iter().map(|text| volume(text)).collect::<Result<_, _>>()?;
        options.add_capabilities.clone_from(&self.cap_add);
        options.drop_capabilities.clone_from(&self.cap_drop);
        options.seccomp = self.seccomp()?;
        options.no_new_privileges = self.no_new_privileges;
        Ok(options)
    }

    fn seccomp(&self) -> anyhow::Result<Seccomp> {
        let read = |path: &std::path::Path| -> std::io::Result<Seccomp> {
            let text = std::fs::read(path)?;
            Ok(Seccomp::Profile { place: path.display().to_string(), text })
        };
        match &self.seccomp {
            Some(path) if path.as_os_str() == "unconfined" => return Ok(Seccomp::Unconfined),
            Some(path) => return read(path).with_context(|| format!("read {}", path.display())),
            None => {}
        }
        for path in seccomp::PLACES {
            match read(path.as_ref()) {
                Ok(profile) => return Ok(profile),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("read {path}")),
            }
        }
        Ok(Seccomp::BuiltIn)
    }
}

/// `NAME=VALUE`, or `NAME` with the value it has here.
fn variable(text: &str) -> Option<String> {
    if text.contains('=') {
        return Some(text.to_owned());
    }
    Some(format!("{text}={}", std::env::var(text).ok()?))
}

/// A program, or a JSON list.
fn entrypoint(text: &str) -> anyhow::Result<Vec<String>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if !text.starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    serde_json::from_str(text).map_err(|error| Usage(format!("--entrypoint {text}: {error}")).into())
}

/// `HOST:INSIDE[:ro|rw]`.
fn volume(text: &str) -> anyhow::Result<Volume> {
    let usage = |reason: &str| Usage(format!("--volume {text}: {reason}"));
    let mut fields = text.split(':');
    let (Some(source), Some(destination)) = (fields.next(), fields.next()) else {
        bail!(usage("HOST:INSIDE is wanted"));
    };
    let mut access = VolumeAccess::ReadWrite;
    for option in fields.flat_map(|field| field.split(',')) {
        access = match option {
            "ro" => VolumeAccess::ReadOnly,
            "rw" => VolumeAccess::ReadWrite,
            _ => bail!(usage(&format!("there is no option {option:?}; ro and rw are"))),
        };
    }
    if !destination.starts_with('/') {
        bail!(usage("the path inside has to be absolute"));
    }
    let source = std::fs::canonicalize(source).with_context(|| format!("volume {source}"))?;
    Ok(Volume { source, destination: destination.to_owned(), access })
}
