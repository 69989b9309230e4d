//! The OCI verbs; dispatch only.

mod artifact_args;
mod bundle;
mod cat;
mod compute_id;
mod container_args;
mod copy;
mod create_image;
mod diff;
mod dump;
mod extract;
mod fsck;
mod history;
mod images;
mod import_layer;
mod inspect;
mod layer;
mod linked_images;
mod load;
mod login;
mod ls;
mod ls_layer;
mod mount;
mod policy_args;
mod pull;
mod push;
pub(crate) mod registry_args;
mod rm;
mod rootfs_args;
mod run;
mod save;
mod seal;
mod sign;
mod tag;
mod tree_args;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use crate::app::App;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Pull(Box<pull::Pull>),
    Push(Box<push::Push>),
    Save(save::Save),
    Load(load::Load),
    Copy(Box<copy::Copy>),
    Images(images::Images),
    Inspect(inspect::Inspect),
    History(history::History),
    Ls(ls::Ls),
    Cat(cat::Cat),
    Extract(extract::Extract),
    Diff(diff::Diff),
    Tag(tag::Tag),
    Untag(tag::Untag),
    Rm(rm::Rm),
    Layer(layer::Layer),
    LsLayer(ls_layer::LsLayer),
    ImportLayer(import_layer::ImportLayer),
    Dump(dump::Dump),
    ComputeId(compute_id::ComputeId),
    CreateImage(create_image::CreateImage),
    Seal(seal::Seal),
    Sign(Box<sign::Sign>),
    Verify(Box<verify::Verify>),
    Mount(mount::Mount),
    Run(Box<run::Run>),
    Bundle(Box<bundle::Bundle>),
    Fsck(fsck::Fsck),
    LinkedErofsImages(linked_images::LinkedErofsImages),
    Login(login::Login),
    Logout(login::Logout),
}

impl Command {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let done = match self {
            Self::Pull(verb) => verb.run(app),
            Self::Push(verb) => verb.run(app),
            Self::Save(verb) => verb.run(app),
            Self::Load(verb) => verb.run(app),
            Self::Copy(verb) => verb.run(app),
            Self::Images(verb) => verb.run(app),
            Self::Inspect(verb) => verb.run(app),
            Self::History(verb) => verb.run(app),
            Self::Ls(verb) => verb.run(app),
            Self::Cat(verb) => verb.run(app),
            Self::Extract(verb) => return verb.run(app),
            Self::Diff(verb) => verb.run(app),
            Self::Tag(verb) => verb.run(app),
            Self::Untag(verb) => verb.run(app),
            Self::Rm(verb) => verb.run(app),
            Self::Layer(verb) => verb.run(app),
            Self::LsLayer(verb) => verb.run(app),
            Self::ImportLayer(verb) => verb.run(app),
            Self::Dump(verb) => verb.run(app),
            Self::ComputeId(verb) => verb.run(app),
            Self::CreateImage(verb) => verb.run(app),
            Self::Seal(verb) => verb.run(app),
            Self::Sign(verb) => verb.run(app),
            Self::Verify(verb) => return verb.run(app),
            Self::Mount(verb) => verb.run(app),
            Self::Run(verb) => return verb.run(app),
            Self::Bundle(verb) => verb.run(app),
            Self::Fsck(verb) => return verb.run(app),
            Self::LinkedErofsImages(verb) => verb.run(app),
            Self::Login(verb) => verb.run(app),
            Self::Logout(verb) => verb.run(app),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}
