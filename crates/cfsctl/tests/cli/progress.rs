//! What progress looks like: on a terminal, as lines, as JSON.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use composefs_testkit::{
    images::{Compression, Image, Layer, Layout},
    registry::{Fault, Registry, RegistryOptions, Rule},
    tars::TarBuilder,
};
use insta::assert_snapshot;
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::lab::{CFSCTL, Session};

fn session() -> Session {
    let session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let layer = |n: usize| {
        Layer::new(
            TarBuilder::new().dir("usr").file(&format!("usr/{n}"), "x".repeat(n)).finish(),
            Compression::Plain,
        )
    };
    layout.image("v1", &Image::new([layer(300_000), layer(5_000), layer(100)]));
    session
}

/// What a terminal so many columns wide is told.
fn on_terminal(session: &Session, columns: u16, term: &str, arguments: &[&str]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal: OwnedFd =
        open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut child = Command::new(CFSCTL)
        .env_clear()
        .env("HOME", session.sandbox.path("home"))
        .env("TERM", term)
        .current_dir(session.sandbox.path(""))
        .args(["--repo", "repo", "--jobs=1"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(terminal)
        .spawn()
        .unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        // Ends with an error when nobody has the other side open.
        let _ = File::from(master).read_to_end(&mut said);
        said
    });
    assert!(child.wait().unwrap().success());
    String::from_utf8(reader.join().unwrap()).unwrap()
}

/// A screen so wide and as long as needed: what there was in its lines at every moment, and what stays.
#[derive(Default)]
struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    seen: Vec<String>,
}

impl Screen {
    fn show(said: &str, columns: usize) -> Self {
        let mut screen = Self { rows: vec![Vec::new()], ..Self::default() };
        let mut rest = said.chars();
        while let Some(c) = rest.next() {
            match c {
                '\r' => screen.column = 0,
                '\n' => screen.down(1),
                '\x1b' => screen.command(&mut rest),
                c => {
                    if screen.column == columns {
                        screen.column = 0;
                        screen.down(1);
                    }
                    let row = &mut screen.rows[screen.row];
                    row.resize(row.len().max(screen.column + 1), ' ');
                    row[screen.column] = c;
                    screen.column += 1;
                }
            }
        }
        screen.note();
        screen
    }

    fn command(&mut self, rest: &mut std::str::Chars<'_>) {
        assert_eq!(rest.next(), Some('['));
        let mut number = String::new();
        let command = loop {
            match rest.next().unwrap() {
                c if c.is_ascii_digit() => number.push(c),
                c => break c,
            }
        };
        let count = number.parse().unwrap_or(1);
        match command {
            'A' => self.row = self.row.saturating_sub(count),
            'B' => self.down(count),
            'K' => {
                self.note();
                self.rows[self.row].clear();
            }
            other => panic!("an escape sequence {number}{other}"),
        }
    }

    fn down(&mut self, count: usize) {
        self.row += count;
        self.rows.resize(self.rows.len().max(self.row + 1), Vec::new());
    }

    fn note(&mut self) {
        let line = String::from_iter(&self.rows[self.row]);
        self.seen.push(line.trim_end().to_owned());
    }

    /// What stays.
    fn text(&self) -> String {
        let lines = self.rows.iter().map(|row| String::from_iter(row).trim_end().to_owned());
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

const PULL: [&str; 4] = ["oci", "pull", "oci:layout:v1", "it"];

#[test]
fn bars_on_a_terminal() {
    let session = session();
    let said = on_terminal(&session, 100, "xterm", &PULL);
    assert!(said.contains("\x1b["), "{said:?}");
    // The total, and colours nowhere.
    assert!(said.contains("3 layers"), "{said:?}");
    assert!(!said.contains("\x1b[3") && !said.contains("\x1b[9"), "{said:?}");
    let screen = Screen::show(&said, 100);
    let bars = screen.seen.iter().filter(|line| line.starts_with("   layer sha256:") && line.contains("=>"));
    assert!(bars.count() > 0, "{:?}", screen.seen);
    let text = screen.text();
    assert_eq!(text.matches(" done, ").count(), 3, "{text}");
    assert!(!text.contains("=>") && !text.contains("3 layers"), "{text}");
    let again = Screen::show(&on_terminal(&session, 100, "xterm", &PULL), 100).text();
    assert_eq!(again.matches("is here already").count(), 3, "{again}");
}

#[test]
fn a_narrow_terminal_gets_short_lines() {
    let screen = Screen::show(&on_terminal(&session(), 40, "xterm", &PULL), 40);
    let bars: Vec<_> = screen.seen.iter().filter(|line| line.ends_with('s') && line.contains('%')).collect();
    assert!(bars.iter().any(|line| line.starts_with("sha256:")), "{:?}", screen.seen);
    assert!(bars.iter().all(|line| line.len() < 40 && !line.contains('[')), "{bars:?}");
    assert_eq!(screen.text().replace('\n', "").matches(" done, ").count(), 3, "{}", screen.text());
}

#[test]
fn a_terminal_that_can_do_nothing_gets_lines() {
    let said = on_terminal(&session(), 80, "dumb", &PULL);
    assert!(!said.contains('\x1b'), "{said:?}");
    assert!(said.contains("3 layers to come, "), "{said:?}");
    assert_eq!(said.matches(" done, ").count(), 3, "{said:?}");
}

#[test]
fn lines_and_documents() {
    let mut session = session();
    session.see([&["--jobs=1", "--progress=json"], &PULL[..]].concat());
    session.see([&["--jobs=1", "--progress=plain"], &PULL[..]].concat());
    session.see([&["--jobs=1", "--progress=json"], &PULL[..]].concat());
    session.see([&["--jobs=1", "--progress=none"], &PULL[..]].concat());
    assert_snapshot!(session.text());
}

#[test]
fn what_is_tried_again_is_said() {
    let session = session();
    let registry = Registry::start(RegistryOptions::default());
    registry.add_layout("app", &session.sandbox.path("layout"));
    for (how, said) in
        [("json", "{\"event\":\"retry\",\"digest\":\"sha256:"), ("plain", "; trying again in ")]
    {
        registry.inject(Rule::new("/blobs/", Fault::busy(503, "1")).times(1));
        let arguments = ["--jobs=1", "--progress", how, "oci", "pull", "--tls-verify=false"];
        let reference = registry.reference("app:v1");
        let repo = session.sandbox.path(how);
        let run = session
            .sandbox
            .invocation()
            .arg("--repo")
            .arg(repo)
            .args(arguments)
            .arg(&reference)
            .run()
            .success();
        let talk = String::from_utf8(run.stderr).unwrap();
        assert_eq!(talk.matches(said).count(), 1, "{talk}");
    }
}
