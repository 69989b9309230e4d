//! Faults on purpose: a program under strace, of whose system calls one fails or is the last.
//!
//! The program has no hook for this. A first run records what it calls; every call is then a [`Point`] for a run of its
//! own, in which strace lets the call fail ([`Fault::Error`], the kernel never sees it) or kills the program on its
//! way into it ([`Fault::Kill`], so everything before it has happened).
//!
//! strace counts calls by thread, and so do points: "the third `linkat`" is the third of each thread. Which store
//! thread gets which object is chance, so a point may be missed in one run; [`Traced::hit`] tells.
//!
//! ```no_run
//! use composefs_testkit::{Sandbox, faults::{Fault, Faults, points}};
//! # const CFSCTL: &str = "cfsctl";
//! let Some(faults) = Faults::or_skip() else { return };
//! let sandbox = Sandbox::new(CFSCTL);
//! let recorded = faults.record(&sandbox, ["--repo", "repo", "init"]);
//! for point in points(&recorded.calls, |call| call.name == "fsync") {
//!     let _ = faults.inject(&sandbox, &point, Fault::Error("EIO"), ["--repo", "repo", "init"]);
//! }
//! ```

use crate::output::Output;
use crate::sandbox::Sandbox;
use crate::{peers, require};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A run that lasts longer hangs. Undisturbed ones take a fraction of a second, on a busy machine some seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// The calls that change names, make durable, or lock.
pub const STEPS: &[&str] = &[
    "mkdirat",
    "linkat",
    "symlinkat",
    "renameat",
    "renameat2",
    "unlinkat",
    "fchmod",
    "fchmodat",
    "fsync",
    "fdatasync",
    "syncfs",
    "flock",
    "ioctl",
];

/// The other calls that are recorded: what opens, reads, writes and looks.
const OTHERS: &[&str] = &[
    "openat",
    "openat2",
    "read",
    "pread64",
    "write",
    "pwrite64",
    "copy_file_range",
    "fallocate",
    "ftruncate",
    "lseek",
    "readlinkat",
    "getdents64",
    "newfstatat",
    "fstat",
    "statx",
];

/// What befalls a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It returns this error, `EIO` say.
    Error(&'static str),
    /// The program is killed on its way into it.
    Kill,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(name) => f.write_str(name),
            Self::Kill => f.write_str("SIGKILL"),
        }
    }
}

/// Returns the kernel's text for the error `name`, as a program prints it.
///
/// # Panics
/// For a name that is not among those the tests use.
#[must_use]
pub fn text_of(name: &str) -> &'static str {
    match name {
        "EIO" => "Input/output error",
        "ENOSPC" => "No space left on device",
        "EDQUOT" => "Disk quota exceeded",
        "EMFILE" => "Too many open files",
        "EINTR" => "Interrupted system call",
        "ENOLCK" => "No locks available",
        "EACCES" => "Permission denied",
        _ => panic!("no text is known for {name}"),
    }
}

/// A system call that a program made.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which of the program's threads, in the order of their first calls; 0 is the main one.
    pub thread: usize,
    /// The call's name.
    pub name: String,
    /// The how-manieth of that name in its thread, from 1.
    pub nth: usize,
    /// Its arguments as strace prints them, descriptors with their paths.
    pub arguments: String,
    /// Whether it was made to fail.
    pub injected: bool,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}({})", self.nth, self.name, self.arguments)
    }
}

/// A place for a fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The call's name.
    pub name: String,
    /// The how-manieth of a thread.
    pub nth: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.nth)
    }
}

/// Returns the points at which `wanted` calls were made, each once, whatever thread.
pub fn points(calls: &[Call], wanted: impl Fn(&Call) -> bool) -> Vec<Point> {
    let found: BTreeSet<Point> = calls
        .iter()
        .filter(|call| wanted(call))
        .map(|call| Point { name: call.name.clone(), nth: call.nth })
        .collect();
    found.into_iter().collect()
}

/// A run under strace.
#[derive(Debug)]
pub struct Traced {
    /// What the program did.
    pub output: Output,
    /// The calls it made, of the kinds that were looked at.
    pub calls: Vec<Call>,
}

impl Traced {
    /// Tells whether the fault happened.
    #[must_use]
    pub fn hit(&self) -> bool {
        self.killed() || self.calls.iter().any(|call| call.injected)
    }

    /// Tells whether the program was killed.
    #[must_use]
    pub fn killed(&self) -> bool {
        self.output.code() == 128 + 9
    }
}

/// strace, where it is installed and may trace.
#[derive(Debug)]
pub struct Faults {
    strace: PathBuf,
}

impl Faults {
    /// Finds strace and tries it, or skips the calling test.
    #[must_use]
    pub fn or_skip() -> Option<Self> {
        let strace = peers::program_or_skip("strace")?;
        let tried = Command::new(&strace)
            .args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=flock", "true"])
            .stdin(Stdio::null())
            .output();
        if !tried.as_ref().is_ok_and(|output| output.status.success() && output.stderr.is_empty()) {
            require::skip("needs a strace that may trace and filter (version 5.3, ptrace allowed)");
            return None;
        }
        Some(Self { strace })
    }

    /// Runs the sandbox's program with `arguments` and records what it calls.
    #[track_caller]
    pub fn record<A: AsRef<OsStr>>(
        &self,
        sandbox: &Sandbox,
        arguments: impl IntoIterator<Item = A>,
    ) -> Traced {
        // Not every processor has every call; a question mark makes strace leave out those it lacks.
        let names: Vec<String> = STEPS.iter().chain(OTHERS).map(|name| format!("?{name}")).collect();
        self.run(sandbox, &format!("trace={}", names.join(",")), &["--seccomp-bpf"], arguments)
    }

    /// Runs the sandbox's program with `arguments` and a fault at `point`.
    ///
    /// # Panics
    /// When the program hangs.
    #[track_caller]
    pub fn inject<A: AsRef<OsStr>>(
        &self,
        sandbox: &Sandbox,
        point: &Point,
        fault: Fault,
        arguments: impl IntoIterator<Item = A>,
    ) -> Traced {
        let what = match fault {
            Fault::Error(name) => format!("error={name}"),
            Fault::Kill => "signal=SIGKILL".to_owned(),
        };
        let inject = format!("inject={}:{what}:when={}", point.name, point.nth);
        // A signal given at a filter's stop is lost, so the program stops at every call of its when it is to be killed.
        let how: &[&str] = match fault {
            Fault::Error(_) => &["--seccomp-bpf", "-e", &inject],
            Fault::Kill => &["-e", &inject],
        };
        self.run(sandbox, &format!("trace={}", point.name), how, arguments)
    }

    /// Runs the sandbox's program with `arguments` where each call of this name returns this error: a kernel, or a
    /// sandbox around the program, that does not know it.
    ///
    /// # Panics
    /// When the program hangs.
    #[track_caller]
    pub fn without<A: AsRef<OsStr>>(
        &self,
        sandbox: &Sandbox,
        name: &str,
        error: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Traced {
        let inject = format!("inject={name}:error={error}");
        self.run(sandbox, &format!("trace={name}"), &["--seccomp-bpf", "-e", &inject], arguments)
    }

    #[track_caller]
    fn run<A: AsRef<OsStr>>(
        &self,
        sandbox: &Sandbox,
        trace: &str,
        more: &[&str],
        arguments: impl IntoIterator<Item = A>,
    ) -> Traced {
        let log = sandbox.path("strace.log");
        let output = sandbox
            .invocation_of(&self.strace)
            .args(["-f", "-qq", "-y", "-s", "0", "-e", "signal=none", "-o"])
            .arg(&log)
            .args(["-e", trace])
            .args(more)
            .arg(sandbox.program())
            .args(arguments)
            .limit(LIMIT)
            .run();
        let text = String::from_utf8_lossy(&std::fs::read(&log).expect("strace's log")).into_owned();
        Traced { output, calls: parse(&text) }
    }
}

/// Reads strace's log: `PID name(arguments) = result`, in two lines where another thread came between.
fn parse(log: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut threads: HashMap<&str, usize> = HashMap::new();
    let mut counts: HashMap<(usize, &str), usize> = HashMap::new();
    let mut unfinished: HashMap<usize, usize> = HashMap::new();
    for line in log.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let next = threads.len();
        let thread = *threads.entry(pid).or_insert(next);
        let injected = rest.ends_with("(INJECTED)");
        if rest.starts_with("<... ") {
            if let Some(call) = unfinished.remove(&thread).and_then(|at| calls.get_mut(at)) {
                call.injected |= injected;
            }
            continue;
        }
        let Some((name, rest)) = rest.split_once('(') else { continue };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let count = counts.entry((thread, name)).or_default();
        *count += 1;
        if rest.ends_with("<unfinished ...>") {
            unfinished.insert(thread, calls.len());
        }
        let arguments = rest.rsplit_once(") ").map_or(rest, |(arguments, _)| arguments).to_owned();
        calls.push(Call { thread, name: name.to_owned(), nth: *count, arguments, injected });
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_thread() {
        let log = "10 openat(AT_FDCWD</>, \"repo\", O_RDONLY) = 3</repo>\n\
            11  linkat(8</repo/objects/#5 (deleted)>, \"\", 7</repo>, \"47/20\", AT_EMPTY_PATH <unfinished ...>\n\
            10 linkat(8</a>, \"\", 7</repo>, \"82/39\", AT_EMPTY_PATH) = -1 EIO (Input/output error) (INJECTED)\n\
            11 <... linkat resumed>)              = -1 EIO (Input/output error) (INJECTED)\n\
            11 linkat(9</b>, \"\", 7</repo>, \"22/5f\", AT_EMPTY_PATH) = 0\n\
            10 +++ killed by SIGKILL +++\n";
        let calls = parse(log);
        let seen: Vec<_> =
            calls.iter().map(|call| (call.thread, call.name.as_str(), call.nth, call.injected)).collect();
        assert_eq!(
            seen,
            [
                (0, "openat", 1, false),
                (1, "linkat", 1, true),
                (0, "linkat", 1, true),
                (1, "linkat", 2, false)
            ]
        );
        assert!(calls[2].arguments.contains("82/39"), "{:?}", calls[2]);
        let points = points(&calls, |call| call.name == "linkat");
        assert_eq!(points.iter().map(Point::to_string).collect::<Vec<_>>(), ["linkat 1", "linkat 2"]);
    }
}
