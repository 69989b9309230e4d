//! Mounts an image of a directory with `objects/` in it: `mount DIRECTORY ID MOUNTPOINT [OPTION…]`, and unmounts:
//! `mount --unmount DIRECTORY MOUNTPOINT`.
#![allow(clippy::print_stdout)]

use std::{
    env,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use composefs::{
    digest::ObjectId,
    mount::{
        Access, AttachPolicy, Feature, ImageSource, Kernel, MountOptions, MountPlan, UnmountWhen,
        VerityPolicy, unmount,
    },
};
use rustix::fs::{Mode, OFlags, open};

fn open_at(path: &Path) -> Result<OwnedFd> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).with_context(|| path.display().to_string())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--kernel"] => println!("{}", Kernel::probe()?),
        ["--unmount", directory, mountpoint] => {
            let repository = open_at(Path::new(directory))?;
            let recorded = unmount(Path::new(mountpoint), Some(repository.as_fd()), UnmountWhen::Unused)?;
            println!("unmounted, {}", if recorded { "was recorded" } else { "was not recorded" });
        }
        [directory, id, mountpoint, options @ ..] => {
            let directory = Path::new(directory);
            let id = ObjectId::from_any_hex(id)?;
            let mut mount = MountOptions::default();
            let mut verified = false;
            let mut kernel = Kernel::current()?.clone();
            for option in options {
                match *option {
                    "verified" => verified = true,
                    "loop" => mount = mount.attach(AttachPolicy::Loop),
                    "file" => mount = mount.attach(AttachPolicy::File),
                    "rw" => mount = mount.access(Access::ReadWrite),
                    "verity=require" => mount = mount.verity(VerityPolicy::Require),
                    "verity=off" => mount = mount.verity(VerityPolicy::Off),
                    "no-detached" => kernel = kernel.without(Feature::DetachedLayers),
                    "no-descriptors" => kernel = kernel.without(Feature::LayerDescriptors),
                    "no-appended" => kernel = kernel.without(Feature::AppendedLayers),
                    "no-data-only" => kernel = kernel.without(Feature::DataOnlyLayers),
                    other => match other.split_once(':') {
                        Some((upper, work)) => mount = mount.upper(upper, work),
                        None => bail!("unknown option {other}"),
                    },
                }
            }
            let source = ImageSource {
                id,
                name: id.to_hex(),
                image: open_at(&directory.join("objects").join(id.object_path()))?,
                objects: open_at(&directory.join("objects"))?,
                verified,
                repository: Some(open_at(directory)?),
            };
            let plan = MountPlan::of(source, &mount.kernel(kernel))?;
            print!("{plan}");
            let mounted = plan.apply(Path::new(mountpoint)).map_err(|error| {
                let hint = error.hint().map(|hint| format!("hint: {hint}"));
                anyhow::Error::new(error).context(hint.unwrap_or_default())
            })?;
            println!("mounted from {}, recorded: {}", mounted.attachment, mounted.recorded);
        }
        _ => bail!("usage: mount DIRECTORY ID MOUNTPOINT [OPTION…]"),
    }
    Ok(())
}
