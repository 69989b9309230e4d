//! The server of a FUSE mount: this program again, in the background.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::{
        fd::AsFd,
        unix::{net::UnixDatagram, process::CommandExt as _},
    },
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use composefs::mount::ImageSource;
use composefs_fuse::{FuseMount, FuseOptions};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{env, ui::error::Said};

/// What the server says when the mount can be used.
const READY: &str = "ready";
/// Where log lines go once nobody looks at stderr.
const LOG: &str = "/dev/log";

/// Tells whether this process was started to serve.
pub(super) fn is_server() -> bool {
    std::env::var_os(env::FUSE_SERVER).is_some()
}

/// Starts this program again, with the same arguments, as the server; returns when its mount can be used.
pub(super) fn start_server() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let mut server = command
        .args(arguments)
        .env(env::FUSE_SERVER, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the FUSE server")?;
    let mut line = String::new();
    if let Some(stdout) = server.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).context("wait for the FUSE server")?;
    }
    if line.trim_end() == READY {
        return Ok(());
    }
    let status = server.wait().context("wait for the FUSE server")?;
    // It has said on stderr what is wrong.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    Err(Said(code.unwrap_or(1)).into())
}

/// Serves an image until its mount is gone. In the background, says so on stdout when the mount can be used, and leaves
/// the terminal.
pub(super) fn serve(
    source: ImageSource,
    at: &Path,
    options: &FuseOptions,
    foreground: bool,
) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("watch for signals")?;
    let mount = FuseMount::spawn(source, at, options)?;
    let stopper = mount.stopper();
    let watch = move || signals.forever().for_each(|_| stopper.stop());
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).context("watch for signals")?;
    if !foreground {
        detach().context("leave the terminal")?;
    }
    mount.wait()?;
    Ok(())
}

/// Leaves session, directory and standard streams to whoever started this process; log lines go to the system's log.
fn detach() -> anyhow::Result<()> {
    // EPERM: this is a group's first process already, so no terminal's signals are for it alone.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let log = UnixDatagram::unbound().and_then(|socket| {
        socket.connect(LOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{READY}")?;
    stdout.flush()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    match &log {
        Ok(log) => rustix::stdio::dup2_stderr(log.as_fd())?,
        Err(_) => rustix::stdio::dup2_stderr(&null)?,
    }
    Ok(())
}
