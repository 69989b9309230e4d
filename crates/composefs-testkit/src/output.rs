//! What a program did, as one value that a single snapshot pins.

use crate::redact::Redactions;
use std::fmt;
use std::process::ExitStatus;

/// The arguments, status, standard output and standard error of one run.
///
/// `Display` is the redacted whole, made for `insta::assert_snapshot!`; the fields are the bytes as they came.
#[must_use = "a run that nobody looks at proves nothing: assert, snapshot, or call success()"]
#[derive(Clone, Debug)]
pub struct Output {
    /// The program's name, then its arguments.
    pub argv: Vec<String>,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// What `Display` replaces.
    pub redactions: Redactions,
}

impl Output {
    /// Returns the exit code; a death by signal is 128 and the signal's number, as shells have it.
    #[must_use]
    pub fn code(&self) -> i32 {
        use std::os::unix::process::ExitStatusExt as _;
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Returns the run, having checked that it succeeded.
    ///
    /// # Panics
    /// With the whole run as text when it did not.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exited(0)
    }

    /// Returns the run, having checked that it ended with `code`.
    ///
    /// # Panics
    /// With the whole run as text when it did not.
    #[track_caller]
    pub fn exited(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "unexpected exit code of this run:\n{self}");
        self
    }

    /// Returns standard output as text, nothing replaced.
    ///
    /// # Panics
    /// When it is no UTF-8.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is text")
    }

    /// Returns standard error as text, nothing replaced, bad bytes marked.
    #[must_use]
    pub fn talk(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Returns standard output as a JSON document.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in the output of:\n{self}"))
    }

    /// Returns the run with more replaced in its `Display`, `out.redact(|list| { list.digests(); })`.
    pub fn redact(mut self, more: impl FnOnce(&mut Redactions)) -> Self {
        more(&mut self.redactions);
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("$ {}\nstatus: {}\n", self.argv.join(" "), self.code());
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !bytes.is_empty() {
                text.push_str(&format!("--- {name}\n{}", String::from_utf8_lossy(bytes)));
                if !text.ends_with('\n') {
                    text.push_str("[no newline]\n");
                }
            }
        }
        f.write_str(&self.redactions.apply(&text))
    }
}
