//! Completion by the program itself: `COMPLETE=bash cfsctl`.

use clap::CommandFactory as _;
use clap_complete::CompleteEnv;

use crate::args::Cli;

/// Answers if a shell asks, and ends the program then.
pub(crate) fn answer_the_shell() {
    CompleteEnv::with_factory(Cli::command).complete();
}
