//! The privileged tier: a guest script as root in a machine with real fs-verity, by `tests/vm/run-in-vm`.
//!
//! ```no_run
//! use composefs_testkit::vm::Machine;
//! # const CFSCTL: &str = "cfsctl";
//! let Some(machine) = Machine::or_skip() else { return };
//! let output = machine.program(CFSCTL).script("cfsctl --repo /scratch/repo init\ncfsctl --repo /scratch/repo fsck").run();
//! assert!(output.success().text().contains("status: ok"));
//! ```
//!
//! The script runs under `/bin/busybox sh -e`; `/scratch` is ext4 with the verity feature. A run takes about 20 seconds
//! under software emulation, so a test puts all it has into few of them, and they run one at a time.

use crate::output::Output;
use crate::redact::Redactions;
use crate::{peers, project, require};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The exit code of a run whose machine did not get to the script's end.
const STOPPED: i32 = 125;

/// A run in the machine being described.
#[derive(Debug)]
pub struct Machine {
    work: tempfile::TempDir,
    options: Vec<String>,
    script: String,
}

impl Machine {
    /// Starts a description, or skips the calling test where the machine cannot run.
    ///
    /// # Panics
    /// When no temporary directory can be made.
    #[must_use]
    pub fn or_skip() -> Option<Self> {
        if let Err(reason) = available() {
            require::skip(&reason);
            return None;
        }
        Some(Self { work: tempfile::tempdir().unwrap(), options: Vec::new(), script: String::new() })
    }

    /// Brings the file or directory `from` along as `to`.
    #[must_use]
    pub fn file(mut self, from: impl AsRef<Path>, to: &str) -> Self {
        self.options.extend(["-f".to_owned(), format!("{}:{to}", from.as_ref().display())]);
        self
    }

    /// Brings a program along as `/bin/NAME`, with its shared libraries and without its debug information.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn program(self, program: impl AsRef<Path>) -> Self {
        let program = program.as_ref();
        let name = program.file_name().expect("a program has a name").to_str().expect("in text");
        let copy = self.work.path().join(name);
        std::fs::copy(program, &copy).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        // The machine's memory holds all files; a debug build has ten times its code in symbols.
        let _ = Command::new("strip").arg("--strip-debug").arg(&copy).stderr(Stdio::null()).status();
        self.file(&copy, &format!("/bin/{name}"))
    }

    /// Sets the script, lines for a POSIX shell that stops at the first failure.
    #[must_use]
    pub fn script(mut self, script: &str) -> Self {
        script.clone_into(&mut self.script);
        self
    }

    /// Runs the script with a root that can be changed for another, as container runtimes do; the machine's first one
    /// cannot. Only what is in `/bin`, `/lib`, `/etc`, `/usr` and the given directories is there.
    #[must_use]
    pub fn pivotable(mut self, directories: &[&str]) -> Self {
        let lines = [
            "mkdir /next",
            "mount -t tmpfs none /next",
            &format!(
                "for d in /bin /sbin /lib /lib64 /etc /usr {}; do cp -a $d /next; done",
                directories.join(" ")
            ),
            "mkdir /next/proc /next/sys /next/dev /next/run /next/tmp /next/mnt /next/scratch /next/root",
            "for d in proc sys dev scratch; do mount --move /$d /next/$d; done",
            "cat >/next/script <<'END_OF_SCRIPT'",
            self.script.as_str(),
            "END_OF_SCRIPT",
            "cd /next",
            "mount --move . /",
            "exec chroot . /bin/busybox sh -e /script",
        ];
        self.script = lines.join("\n");
        self.options.extend(["-m".to_owned(), "2048".to_owned()]);
        self
    }

    /// Ends the machine after that many seconds, 300 unless told.
    #[must_use]
    pub fn seconds(mut self, limit: u32) -> Self {
        self.options.extend(["-t".to_owned(), limit.to_string()]);
        self
    }

    /// Keeps the scratch disk in `file` between runs.
    #[must_use]
    pub fn disk(mut self, file: &Path) -> Self {
        self.options.extend(["-D".to_owned(), file.display().to_string()]);
        self
    }

    /// Sets the scratch disk's size in MiB, 1024 unless told.
    #[must_use]
    pub fn disk_mib(mut self, size: u32) -> Self {
        self.options.extend(["-d".to_owned(), size.to_string()]);
        self
    }

    /// Lets the scratch disk take no more than so many bytes a second.
    #[must_use]
    pub fn disk_speed(mut self, bytes: u64) -> Self {
        self.options.extend(["-b".to_owned(), bytes.to_string()]);
        self
    }

    /// Cuts the power that many seconds after the script has started; the exit code is then 137.
    #[must_use]
    pub fn cut_after(mut self, seconds: f64) -> Self {
        self.options.extend(["-k".to_owned(), seconds.to_string()]);
        self
    }

    /// Counts the seconds to the cut from the first line of the script's that begins with `text`.
    #[must_use]
    pub fn cut_from(mut self, text: &str) -> Self {
        self.options.extend(["-K".to_owned(), text.to_owned()]);
        self
    }

    /// Runs the machine to its end; exit code and standard output are the script's.
    ///
    /// # Panics
    /// When the machine cannot be started.
    #[track_caller]
    #[allow(clippy::print_stderr)]
    pub fn run(self) -> Output {
        // One at a time, over all test programs: two emulated machines on two cores run into time limits.
        let lock = File::create(std::env::temp_dir().join("composefs-testkit-vm.lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let script = self.work.path().join("script");
        std::fs::write(&script, format!("#!/bin/busybox sh\nset -e\n{}\n", self.script)).unwrap();
        let run = || {
            let mut command = Command::new(project("tests/vm/run-in-vm"));
            let command = command.args(&self.options).arg(&script).stdin(Stdio::null());
            command.output().expect("run tests/vm/run-in-vm")
        };
        let mut done = run();
        let panicked = |output: &std::process::Output| {
            [&output.stdout, &output.stderr]
                .iter()
                .any(|text| String::from_utf8_lossy(text).contains("Kernel panic"))
        };
        // Emulated processors are not perfect. A machine that keeps no disk can begin again.
        if done.status.code() == Some(125)
            && panicked(&done)
            && !self.options.iter().any(|option| option == "-D")
        {
            eprintln!("the machine's kernel panicked; once more:\n{}", String::from_utf8_lossy(&done.stderr));
            done = run();
        }
        // Lines of the machine and of its kernel (`run-in-vm: …`, `[   9.8] reboot: …`) are not the script's.
        let kernel = regex::Regex::new(r"^\[ *\d+\.\d+\] ").unwrap();
        let text = String::from_utf8_lossy(&done.stdout);
        let stdout: String = text
            .lines()
            .filter(|line| !line.starts_with("run-in-vm: ") && !kernel.is_match(line))
            .map(|line| format!("{line}\n"))
            .collect();
        let (status, stdout, mut stderr) = (done.status, stdout.into_bytes(), done.stderr);
        if status.code() == Some(STOPPED) {
            // Why, the kernel may have said.
            stderr.extend_from_slice(&done.stdout);
        }
        Output { argv: vec!["vm".to_owned()], status, stdout, stderr, redactions: Redactions::standard() }
    }
}

/// Says why the machine cannot run here, if so.
///
/// # Errors
/// The reason, as the rest of a sentence about the test.
pub fn available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root for the virtual machine".to_owned());
    }
    for program in ["qemu-system-x86_64", "busybox", "cpio", "mkfs.ext4", "depmod", "apt-get", "dpkg-deb"] {
        if peers::find(program).is_none() {
            return Err(format!("needs {program} for the virtual machine"));
        }
    }
    let cache = std::env::var_os("VM_CACHE").map(PathBuf::from);
    let cache =
        cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache/run-in-vm"))).unwrap_or_default();
    // Downloading a kernel is .ci/run's business, not that of a test.
    if std::fs::read_dir(cache.join("kernel/boot")).is_err() {
        return Err(
            "needs the virtual machine's kernel (tests/vm/run-in-vm fetches it when run once)".to_owned()
        );
    }
    Ok(())
}
