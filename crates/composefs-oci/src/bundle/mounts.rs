//! What a container has mounted beside its root.

use std::path::PathBuf;

use oci_spec::runtime::{Mount, MountBuilder};

use super::{BundleError, BundleOptions, ImageFiles, options::VolumeAccess};

fn mount(kind: &str, source: &str, destination: &str, options: &[&str]) -> Result<Mount, BundleError> {
    MountBuilder::default()
        .typ(kind)
        .source(PathBuf::from(source))
        .destination(PathBuf::from(destination))
        .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        .build()
        .map_err(|error| BundleError::Specification { reason: error.to_string() })
}

/// The mounts in the order in which they are made; `volumes` are the directories that the image wants kept apart.
pub(super) fn of(
    options: &BundleOptions,
    volumes: &[String],
    files: &dyn ImageFiles,
) -> Result<Vec<Mount>, BundleError> {
    let plain = ["nosuid", "noexec", "nodev"];
    let with = |more: &[&'static str]| plain.iter().chain(more).copied().collect::<Vec<_>>();
    let mut mounts = vec![
        mount("proc", "proc", "/proc", &plain)?,
        mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
    ];
    let terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if options.namespace.is_some() {
        // The group tty need not be mapped.
        mounts.push(mount("devpts", "devpts", "/dev/pts", &terminals)?);
    } else {
        let group: Vec<&str> = terminals.iter().copied().chain(["gid=5"]).collect();
        mounts.push(mount("devpts", "devpts", "/dev/pts", &group)?);
    }
    mounts.push(mount("tmpfs", "shm", "/dev/shm", &with(&["mode=1777", "size=65536k"]))?);
    mounts.push(mount("mqueue", "mqueue", "/dev/mqueue", &plain)?);
    if options.namespace.is_some() {
        // sysfs belongs to a network; a namespace without one of its own gets the host's to look at.
        mounts.push(mount("none", "/sys", "/sys", &with(&["rbind", "ro"]))?);
    } else {
        mounts.push(mount("sysfs", "sysfs", "/sys", &with(&["ro"]))?);
        mounts.push(mount("cgroup", "cgroup", "/sys/fs/cgroup", &with(&["relatime", "ro"]))?);
    }
    let taken = |path: &str| options.volumes.iter().any(|volume| volume.destination == path);
    // The mount's place is made where the image has none, but a directory is no place for a file.
    for path in options.host_files.iter().filter(|path| !taken(path) && !files.is_directory(path)) {
        mounts.push(mount("none", path, path, &["bind", "ro", "nosuid", "nodev", "noexec"])?);
    }
    if options.read_only {
        // What the image wants to be written to can be, and begins with what it has there.
        for path in volumes.iter().filter(|path| !taken(path)) {
            mounts.push(mount("tmpfs", "tmpfs", path, &["nosuid", "nodev", "tmpcopyup"])?);
        }
    }
    for volume in &options.volumes {
        let access = match volume.access {
            VolumeAccess::ReadWrite => "rw",
            VolumeAccess::ReadOnly => "ro",
        };
        let source = volume.source.to_str().ok_or_else(|| BundleError::Specification {
            reason: format!("{} is not in UTF-8, as JSON is", volume.source.display()),
        })?;
        mounts.push(mount("none", source, &volume.destination, &["rbind", access, "nosuid", "nodev"])?);
    }
    Ok(mounts)
}
