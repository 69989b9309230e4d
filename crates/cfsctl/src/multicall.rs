//! Other names of the program: `mkcomposefs`, `composefs-info`, `mount.composefs`; as argv\[0\] or as first argument.

mod composefs_info;
mod digest_store;
mod mkcomposefs;
mod mount_helper;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{CommandFactory as _, Parser};

use crate::ui;

/// A program that is not cfsctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Mkcomposefs,
    ComposefsInfo,
    MountHelper,
}

impl Program {
    fn by_name(name: &str) -> Option<Self> {
        match name {
            "mkcomposefs" => Some(Self::Mkcomposefs),
            "composefs-info" => Some(Self::ComposefsInfo),
            "mount.composefs" => Some(Self::MountHelper),
            _ => None,
        }
    }

    /// Runs the program with its arguments, the name first.
    pub(crate) fn run(self, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
        match self {
            Self::Mkcomposefs => with(arguments, mkcomposefs::Mkcomposefs::run),
            Self::ComposefsInfo => with(arguments, composefs_info::ComposefsInfo::run),
            Self::MountHelper => with(arguments, mount_helper::MountHelper::run),
        }
    }
}

/// Finds out which program is meant; takes the name away if it was given as the first argument.
pub(crate) fn take(arguments: &mut Vec<OsString>) -> Option<Program> {
    let program = arguments.first().and_then(|name| Program::by_name(Path::new(name).file_name()?.to_str()?));
    if program.is_some() {
        return program;
    }
    let program = Program::by_name(arguments.get(1)?.to_str()?)?;
    arguments.remove(0);
    Some(program)
}

/// The command lines of all programs, for the reference.
pub(crate) fn commands() -> [clap::Command; 3] {
    [
        mkcomposefs::Mkcomposefs::command(),
        composefs_info::ComposefsInfo::command(),
        mount_helper::MountHelper::command(),
    ]
}

fn with<P: Parser>(
    arguments: &[OsString],
    run: impl FnOnce(P) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    match P::try_parse_from(arguments) {
        Ok(parsed) => run(parsed).map(|()| ExitCode::SUCCESS),
        Err(error) => Ok(ui::error::usage(&error)),
    }
}
