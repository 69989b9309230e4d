//! cfsctl: the command line of composefs repositories and the OCI images in them.
//!
//! The program looks at the name it was called by, reads the arguments, runs one verb, and exits with 0 for done,
//! 1 for failed or damage found, 2 for wrong usage. Results go to stdout, talk to stderr.
#![forbid(unsafe_code)]
// A program says what it has to say; only libraries are kept from touching the file system behind a path-less error.
#![allow(clippy::print_stderr, clippy::disallowed_methods)]
// The doc comments of arguments are help texts, where a bracket is a bracket.
#![allow(rustdoc::broken_intra_doc_links)]

mod env;
mod args;
mod input;
mod ui;
mod app;
mod complete;
mod container;
mod cmd;
mod multicall;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

fn main() -> ExitCode {
    let mut arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let Some(program) = multicall::take(&mut arguments) {
        return finish(program.run(&arguments), args::ProgressMode::None);
    }
    complete::answer_the_shell();
    let cli = match args::Cli::command()
        .try_get_matches_from(&arguments)
        .and_then(|m| args::Cli::from_arg_matches(&m))
    {
        Ok(cli) => cli,
        Err(error) => return ui::error::usage(&error),
    };
    ui::log::start(&cli.global);
    let progress = cli.global.progress;
    finish(cmd::run(cli), progress)
}

fn finish(result: anyhow::Result<ExitCode>, progress: args::ProgressMode) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => ui::error::report(&error, progress),
    }
}
