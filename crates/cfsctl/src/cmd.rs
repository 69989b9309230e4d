//! The verbs; dispatch only.

mod cat;
mod completion;
mod compute_karg;
mod create_image;
pub(crate) mod du;
mod dump_files;
mod fs_options;
mod fsck;
mod gc;
mod image_objects;
mod images;
mod import_image;
mod init;
mod man;
pub(crate) mod mount;
mod oci;
mod repair;
mod transaction;
mod util;

use std::process::ExitCode;

use clap::Subcommand;

use crate::{app::App, args::Cli};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Init),
    Transaction(transaction::Transaction),
    Cat(cat::Cat),
    Du(du::Du),
    Gc(gc::Gc),
    ImportImage(import_image::ImportImage),
    #[command(visible_alias = "list-images")]
    Images(images::Images),
    /// Work with OCI images and layers
    #[command(subcommand)]
    Oci(oci::Command),
    Mount(mount::Mount),
    Umount(mount::Umount),
    CreateImage(create_image::CreateImage),
    ComputeId(create_image::ComputeId),
    ComputeKarg(compute_karg::ComputeKarg),
    CreateDumpfile(create_image::CreateDumpfile),
    ImageObjects(image_objects::ImageObjects),
    DumpFiles(dump_files::DumpFiles),
    Fsck(fsck::Fsck),
    Repair(repair::Repair),
    Completion(completion::Completion),
    Man(man::Man),
    #[command(hide = true)]
    Util(util::Util),
}

pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let app = App::new(cli.global);
    let done = match cli.command {
        Command::Init(verb) => verb.run(&app),
        Command::Transaction(verb) => verb.run(&app),
        Command::Cat(verb) => verb.run(&app),
        Command::Du(verb) => return verb.run(&app),
        Command::Gc(verb) => return verb.run(&app),
        Command::ImportImage(verb) => verb.run(&app),
        Command::Images(verb) => verb.run(&app),
        Command::Oci(verb) => return verb.run(&app),
        Command::Mount(verb) => verb.run(&app),
        Command::Umount(verb) => verb.run(&app),
        Command::CreateImage(verb) => verb.run(&app),
        Command::ComputeId(verb) => verb.run(&app),
        Command::ComputeKarg(verb) => verb.run(&app),
        Command::CreateDumpfile(verb) => verb.run(&app),
        Command::ImageObjects(verb) => verb.run(&app),
        Command::DumpFiles(verb) => verb.run(&app),
        Command::Fsck(verb) => return verb.run(&app),
        Command::Repair(verb) => return verb.run(&app),
        Command::Completion(verb) => verb.run(),
        Command::Man(verb) => verb.run(),
        Command::Util(verb) => verb.run(),
    };
    done.map(|()| ExitCode::SUCCESS)
}
