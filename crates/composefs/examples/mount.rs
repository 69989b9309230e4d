//! Mounts an image of a repository: `mount REPOSITORY IMAGE MOUNTPOINT`, where IMAGE is an id, `refs/…` or the name of
//! a ref. `mount REPOSITORY MOUNTPOINT` unmounts it; `mount` alone says what the kernel can do.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::{path::Path, process::ExitCode};

use composefs::{
    error::Result,
    mount::{Kernel, MountOptions, MountPlan, UnmountWhen, unmount},
    repo::{OpenOptions, Repository},
};
use rustix::fs::CWD;

fn run(arguments: &[&str]) -> Result<()> {
    let open = |path: &str| Repository::open(CWD, path, &OpenOptions::default());
    match arguments {
        [repository, image, mountpoint] => {
            let repository = open(repository)?;
            let image = repository.resolve_image(image)?;
            let plan = MountPlan::new(&repository, &image.id, &MountOptions::default())?;
            print!("{plan}");
            let mounted = plan.apply(Path::new(mountpoint))?;
            println!("mounted from {}", mounted.attachment);
        }
        [repository, mountpoint] => {
            unmount(Path::new(mountpoint), Some(&open(repository)?), UnmountWhen::Unused)?;
        }
        _ => println!("{}", Kernel::probe()?),
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
