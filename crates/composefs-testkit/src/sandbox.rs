//! Hermetic runs of cfsctl: a directory of their own, an empty environment, a fixed locale and width.
//!
//! ```no_run
//! # const CFSCTL: &str = "cfsctl"; // in a test of cfsctl: env!("CARGO_BIN_EXE_cfsctl")
//! let sandbox = composefs_testkit::Sandbox::new(CFSCTL);
//! let _ = sandbox.cfsctl(["init", "--insecure"]).success();
//! print!("{}", sandbox.cfsctl(["images"]));
//! ```

use crate::output::Output;
use crate::redact::Redactions;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;

/// A temporary directory and the program that is run in it; both go when the value is dropped.
///
/// Programs see `HOME`, `TMPDIR` and `XDG_RUNTIME_DIR` inside it, an empty registries.conf, a policy that accepts
/// anything, `LC_ALL=C`, a narrow `PATH`, and nothing else of the environment. The default repository is `repo` in it,
/// `[REPO]` in snapshots.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
    redactions: Redactions,
}

impl Sandbox {
    /// Makes a sandbox that runs `program`, in tests of cfsctl `env!("CARGO_BIN_EXE_cfsctl")`.
    ///
    /// # Panics
    /// When no temporary directory can be made.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self::within(&std::env::temp_dir(), program)
    }

    /// Makes a sandbox below `parent`, for tests that need a certain file system.
    ///
    /// # Panics
    /// When no temporary directory can be made there.
    #[must_use]
    pub fn within(parent: &Path, program: impl Into<PathBuf>) -> Self {
        let dir = TempDir::new_in(parent).expect("temporary directory");
        for name in ["home", "tmp", "run"] {
            std::fs::create_dir(dir.path().join(name)).expect("directory in the sandbox");
        }
        // The machine's own would say where bare names lead.
        let registries = dir.path().join("run/registries.conf");
        std::fs::write(&registries, "").expect("file in the sandbox");
        // The machine's own may forbid what tests pull.
        let policy = dir.path().join("home/.config/containers/policy.json");
        std::fs::create_dir_all(policy.parent().expect("a file's parent")).expect("directory in the sandbox");
        std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)
            .expect("file in the sandbox");
        let mut redactions = Redactions::standard();
        redactions.path(dir.path(), "[ROOT]").path(&dir.path().join("repo"), "[REPO]");
        let environment = [
            ("HOME", dir.path().join("home").into_os_string()),
            ("TMPDIR", dir.path().join("tmp").into_os_string()),
            ("XDG_RUNTIME_DIR", dir.path().join("run").into_os_string()),
            ("CONTAINERS_REGISTRIES_CONF", registries.into_os_string()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into()),
            ("LC_ALL", "C".into()),
            ("TZ", "UTC".into()),
            ("COLUMNS", "80".into()),
            ("NO_COLOR", "1".into()),
            ("RUST_BACKTRACE", "0".into()),
        ]
        .map(|(name, value)| (name.into(), value))
        .to_vec();
        Self { dir, program: program.into(), environment, redactions }
    }

    /// Returns the same sandbox with `name` set to `value` for all its runs.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Returns the path of `relative` in the sandbox, `""` for the sandbox itself.
    #[must_use]
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// Returns the program under test.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns the default repository's path.
    #[must_use]
    pub fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    /// Writes a file in the sandbox, with the directories above it, and returns its path.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn write(&self, relative: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("a file has a directory"))
            .expect("directory in the sandbox");
        std::fs::write(&path, contents).expect("file in the sandbox");
        path
    }

    /// Runs the program on the default repository: `--repo [REPO]`, then `arguments`.
    #[track_caller]
    pub fn cfsctl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.invocation().arg("--repo").arg(self.repo()).args(arguments).run()
    }

    /// Runs the program with `arguments` alone.
    #[track_caller]
    pub fn bare<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.invocation().args(arguments).run()
    }

    /// Starts the description of a run that needs more than arguments: standard input, variables, a directory.
    #[must_use]
    pub fn invocation(&self) -> Invocation {
        self.invocation_of(&self.program)
    }

    /// The same for another program, under the same environment: a peer, skopeo, or cfsctl by another name.
    #[must_use]
    pub fn invocation_of(&self, program: impl AsRef<OsStr>) -> Invocation {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path());
        Invocation { command, stdin: None, limit: None, redactions: self.redactions.clone() }
    }
}

/// A run being described.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
    limit: Option<Duration>,
    redactions: Redactions,
}

impl Invocation {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in `directory` instead of the sandbox's root.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets the name the program is called by, for programs with several names.
    #[must_use]
    pub fn arg0(mut self, name: impl AsRef<OsStr>) -> Self {
        use std::os::unix::process::CommandExt as _;
        self.command.arg0(name);
        self
    }

    /// Gives the program `bytes` on its standard input; without, that is empty.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Takes a run that lasts longer than `limit` for one that hangs: it is killed with all its children.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs the program to its end.
    ///
    /// # Panics
    /// When it cannot be started, or hangs.
    #[track_caller]
    pub fn run(mut self) -> Output {
        let program = Path::new(self.command.get_program());
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let arguments = self.command.get_args().map(|argument| argument.to_string_lossy().into_owned());
        let argv: Vec<String> = std::iter::once(name).chain(arguments).collect();
        let input = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        if self.limit.is_some() {
            std::os::unix::process::CommandExt::process_group(&mut self.command, 0);
        }
        self.command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            self.command.spawn().unwrap_or_else(|error| panic!("cannot run {}: {error}", argv.join(" ")));
        // From a thread of its own: a program that prints before it has read everything must not block us both.
        let writer = self.stdin.map(|bytes| {
            let mut pipe = child.stdin.take().expect("piped");
            std::thread::spawn(move || pipe.write_all(&bytes))
        });
        let watch = self.limit.map(|limit| Watch::start(&child, limit));
        let done = child.wait_with_output().expect("wait for a child");
        if let (Some(watch), Some(limit)) = (watch, self.limit) {
            let talk = String::from_utf8_lossy(&done.stderr);
            assert!(!watch.stop(), "{} hung for {} s:\n{talk}", argv.join(" "), limit.as_secs());
        }
        if let Some(writer) = writer {
            // A program may refuse its input early; what it says about that is in its output.
            let _ = writer.join().expect("writer of standard input");
        }
        Output {
            argv,
            status: done.status,
            stdout: done.stdout,
            stderr: done.stderr,
            redactions: self.redactions,
        }
    }
}

/// Kills a program's process group when its time is up.
struct Watch {
    done: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watch {
    fn start(child: &Child, limit: Duration) -> Self {
        let group = rustix::process::Pid::from_child(child);
        let (done, ended) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let late = ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if late {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            late
        });
        Self { done, thread }
    }

    /// Tells whether the program had to be killed.
    fn stop(self) -> bool {
        drop(self.done);
        self.thread.join().expect("watch of a child")
    }
}
