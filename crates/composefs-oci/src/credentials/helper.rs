//! Programs that keep credentials: `docker-credential-NAME` with one argument, the question on its standard input.
//!
//! No shell is involved, a secret travels through pipes alone, and a program that takes too long is killed.
//!
//! # Format
//! `docs/formats/transports.md`, section 3.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Credentials, Secret};
use crate::environment::Environment;

/// How long a program may take.
pub const TIME_OUT: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const ANSWER_MAX: u64 = 1 << 20;
/// The longest message of a program that is shown, in characters.
const MESSAGE_MAX: usize = 200;
/// What programs say that have nothing for a server.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that makes a secret an identity token.
const TOKEN_USER: &str = "<token>";

/// Why a helper could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// It is not installed.
    #[error("{program} is not in PATH")]
    Missing {
        /// Its file name.
        program: String,
    },
    /// It cannot be one: its name has a slash.
    #[error("`{0}` is no name of a credential helper")]
    Name(String),
    /// It did not start or could not be talked to.
    #[error("run {program}")]
    Run {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not answer in time.
    #[error("{program} {action} took more than {} s", limit.as_secs_f32())]
    TimedOut {
        /// Its path.
        program: PathBuf,
        /// What it was asked to do.
        action: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// It said no.
    #[error("{program} {action}: {message}")]
    Refused {
        /// Its path.
        program: PathBuf,
        /// What it was asked to do.
        action: &'static str,
        /// The first line of what it said.
        message: String,
    },
    /// What it said makes no sense; it may be secret and is not shown.
    #[error("{program} {action} gave no answer of a credential helper")]
    Answer {
        /// Its path.
        program: PathBuf,
        /// What it was asked to do.
        action: &'static str,
    },
}

/// An installed helper.
#[derive(Clone, Debug)]
pub struct Helper {
    program: PathBuf,
    /// The home and search path it gets.
    variables: Vec<(&'static str, std::ffi::OsString)>,
    time_out: Duration,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret")]
    secret: Secret,
}

#[derive(Serialize)]
struct Question<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    #[serde(rename = "Username")]
    user: &'a str,
    #[serde(rename = "Secret")]
    secret: &'a str,
}

impl Helper {
    /// Finds the program of a helper in `PATH`; its empty and relative parts are not searched.
    ///
    /// # Errors
    /// [`HelperError::Name`], [`HelperError::Missing`].
    pub fn find(name: &str, environment: &Environment) -> Result<Self, HelperError> {
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(HelperError::Name(name.to_owned()));
        }
        let program = format!("docker-credential-{name}");
        let path = environment.get("PATH").unwrap_or_default();
        let found = path
            .as_bytes()
            .split(|byte| *byte == b':')
            .map(|directory| PathBuf::from(std::ffi::OsStr::from_bytes(directory)))
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(&program))
            .find(|path| access(path, Access::EXEC_OK).is_ok());
        let variables = ["HOME", "PATH"]
            .into_iter()
            .filter_map(|name| Some((name, environment.get(name)?.to_owned())))
            .collect();
        match found {
            Some(program) => Ok(Self { program, variables, time_out: TIME_OUT }),
            None => Err(HelperError::Missing { program }),
        }
    }

    /// Sets how long it may take.
    #[must_use]
    pub const fn time_out(mut self, time_out: Duration) -> Self {
        self.time_out = time_out;
        self
    }

    /// Asks for the credentials of a server.
    ///
    /// # Errors
    /// [`HelperError`]; that it has none is no error.
    pub fn get(&self, server: &str) -> Result<Option<Credentials>, HelperError> {
        let Some(bytes) = self.ask("get", server.as_bytes(), None)? else { return Ok(None) };
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| self.nonsense("get"))?;
        if answer.user.is_empty() && answer.secret.is_empty() {
            return Ok(None);
        }
        Ok(Some(match answer.user.as_str() {
            TOKEN_USER => Credentials::IdentityToken(answer.secret),
            _ => Credentials::Basic { user: answer.user, password: answer.secret },
        }))
    }

    /// Gives it the credentials of a server to keep.
    ///
    /// # Errors
    /// [`HelperError`].
    pub fn store(&self, server: &str, user: &str, password: &Secret) -> Result<(), HelperError> {
        let question = Question { server, user, secret: password.expose() };
        let question = Zeroizing::new(serde_json::to_vec(&question).map_err(|_| self.nonsense("store"))?);
        self.ask("store", &question, Some(password)).map(drop)
    }

    /// Makes it forget a server; tells whether it knew it.
    ///
    /// # Errors
    /// [`HelperError`].
    pub fn erase(&self, server: &str) -> Result<bool, HelperError> {
        Ok(self.ask("erase", server.as_bytes(), None)?.is_some())
    }

    fn nonsense(&self, action: &'static str) -> HelperError {
        HelperError::Answer { program: self.program.clone(), action }
    }

    /// Runs the program; `None` if it has nothing for the server. What it says is searched for `secret` before it
    /// becomes part of an error.
    fn ask(
        &self,
        action: &'static str,
        question: &[u8],
        secret: Option<&Secret>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, HelperError> {
        tracing::debug!(program = %self.program.display(), action, "ask the credential helper");
        let run = |source| HelperError::Run { program: self.program.clone(), source };
        let late = || HelperError::TimedOut { program: self.program.clone(), action, limit: self.time_out };
        let deadline = Instant::now() + self.time_out;
        let mut child = Command::new(&self.program)
            .arg(action)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(run)?;
        let answer = exchange(&mut child, Zeroizing::new(question.to_vec()));
        let answer = match answer.recv_timeout(self.time_out) {
            Ok(answer) => answer.map_err(run),
            Err(_) => Err(late()),
        };
        let status = match &answer {
            Ok(_) => exit(&mut child, deadline).map_err(run)?,
            Err(_) => None,
        };
        let Some(status) = status else {
            let _ = child.kill();
            let _ = child.wait();
            answer?;
            return Err(late());
        };
        let answer = answer?;
        if status.success() {
            return Ok(Some(answer));
        }
        let text = Zeroizing::new(String::from_utf8_lossy(&answer).into_owned());
        if text.trim() == NOT_FOUND {
            return Ok(None);
        }
        Err(HelperError::Refused {
            program: self.program.clone(),
            action,
            message: message(&text, secret, status),
        })
    }
}

/// Writes the question and reads the answer on a thread of its own, which ends with the program at the latest.
fn exchange(
    child: &mut Child,
    question: Zeroizing<Vec<u8>>,
) -> mpsc::Receiver<io::Result<Zeroizing<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel();
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    std::thread::spawn(move || {
        if let Some(mut stdin) = stdin {
            // A program that does not read its input says why on its output.
            let _ = stdin.write_all(&question);
        }
        let mut answer = Zeroizing::new(Vec::new());
        let read = stdout.map_or(Ok(0), |stdout| stdout.take(ANSWER_MAX).read_to_end(&mut answer));
        let _ = sender.send(read.map(|_| answer));
    });
    receiver
}

/// Waits for a program that has closed its output; `None` past the deadline.
fn exit(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn message(text: &str, secret: Option<&Secret>, status: ExitStatus) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let line = match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => line.replace(secret.expose(), "…"),
        None => line.to_owned(),
    };
    let line: String = line.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect();
    if line.is_empty() { status.to_string() } else { line }
}
