//! `cfsctl util`: what is made from the definitions of the command line itself.

use std::io::Write as _;

use clap::{Args, Command, CommandFactory as _, Subcommand};

use crate::{args::Cli, multicall, ui};

/// Columns of the reference.
const WIDTH: usize = 100;

/// Print what the project's own papers are made of
#[derive(Debug, Args)]
pub(crate) struct Util {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the reference of all verbs, docs/cli.md
    Reference,
}

impl Util {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let What::Reference = self.what;
        write!(ui::out(), "{}", reference())?;
        Ok(())
    }
}

/// All help texts as one page.
fn reference() -> String {
    let mut page = String::from(
        "# The command line\n\nMade from the program by `cfsctl util reference`; a test keeps it current. What the verbs print is in\n\
         [formats/cli.md](formats/cli.md).\n",
    );
    let mut command = Cli::command().term_width(WIDTH);
    command.build();
    section(command, &mut page, true);
    for mut program in multicall::commands() {
        program = program.term_width(WIDTH);
        program.build();
        section(program, &mut page, true);
    }
    page
}

fn section(mut command: Command, page: &mut String, whole: bool) {
    if !whole {
        // They are the same everywhere, and stand once on the first page.
        command = command.mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
    }
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned();
    let help = command.clone().disable_help_flag(!whole).render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end()));
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        section(verb.clone(), page, false);
    }
}
