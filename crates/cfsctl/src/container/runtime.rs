//! Which program runs bundles.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use anyhow::{Context as _, bail};

use crate::ui::error::Failed;

/// Those that are looked for, the lightest first.
const KNOWN: [&str; 3] = ["crun", "runc", "youki"];

/// Where Debian has runc, and `PATH` of ordinary users has not.
const FURTHER: &str = "/usr/sbin";

/// A runtime.
#[derive(Debug)]
pub(crate) struct Runtime {
    program: PathBuf,
    /// Options before the verb.
    options: Vec<OsString>,
}

impl Runtime {
    /// Finds the runtime that is wished for, by path or name, else the first that is installed.
    pub(crate) fn find(wish: Option<&str>) -> anyhow::Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = || std::env::split_paths(&path).chain([PathBuf::from(FURTHER)]);
        let look = |name: &str| places().map(|place| place.join(name)).find(|path| is_program(path));
        if let Some(wish) = wish {
            let found = if wish.contains('/') { Some(PathBuf::from(wish)) } else { look(wish) };
            return match found {
                Some(found) if is_program(&found) => Ok(Self::new(found)),
                Some(found) => bail!("runtime {}: no such program", found.display()),
                None => bail!("runtime {wish}: no such program in PATH"),
            };
        }
        if let Some(found) = KNOWN.iter().find_map(|name| look(name)) {
            return Ok(Self::new(found));
        }
        let hint = "install crun, or name another one with --runtime";
        Err(Failed::new(format!("none of {} is in PATH", KNOWN.join(", "))).hints([hint.to_owned()]).into())
    }

    const fn new(program: PathBuf) -> Self {
        Self { program, options: Vec::new() }
    }

    /// For use in a user namespace: with its state in `state`, and without control groups, which nobody lets a user make
    /// who has not been asked to.
    pub(crate) fn unprivileged(mut self, state: &Path) -> Self {
        self.options.extend(["--root".into(), state.into()]);
        if self.program.file_name() == Some("crun".as_ref()) {
            self.options.push("--cgroup-manager=disabled".into());
        }
        self
    }

    fn call(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.options);
        command
    }

    /// The command that runs a bundle to its end.
    pub(crate) fn command(&self, bundle: &Path, id: &str) -> Command {
        let mut command = self.call();
        command.arg("run").arg("--bundle").arg(bundle).arg(id);
        command
    }

    /// Takes away what a runtime that was killed has left.
    pub(crate) fn delete(&self, id: &str) -> anyhow::Result<()> {
        let output = self.call().args(["delete", "--force", id]).output();
        let output = output.with_context(|| format!("run {} delete", self.program.display()))?;
        if !output.status.success() {
            tracing::debug!(id, status = %output.status, "nothing to delete");
        }
        Ok(())
    }

    /// What it is called.
    pub(crate) fn path(&self) -> &Path {
        &self.program
    }
}

fn is_program(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
}

/// A status as a shell gives it.
pub(crate) fn exit_status(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}
