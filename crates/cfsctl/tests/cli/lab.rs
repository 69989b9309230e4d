//! A sandbox, and what was run in it as one text that a single snapshot pins.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use composefs_testkit::{Output, Sandbox, project, sample};

/// The program under test.
pub(crate) const CFSCTL: &str = env!("CARGO_BIN_EXE_cfsctl");

/// Runs in a sandbox, written down one after the other.
pub(crate) struct Session {
    pub(crate) sandbox: Sandbox,
    text: String,
}

impl Session {
    /// A sandbox with nothing in it.
    pub(crate) fn new() -> Self {
        Self { sandbox: Sandbox::new(CFSCTL), text: String::new() }
    }

    /// A sandbox on a file system that has no fs-verity, if there is one.
    pub(crate) fn without_verity() -> Option<Self> {
        let memory = Path::new("/dev/shm");
        if !memory.is_dir() {
            composefs_testkit::require::skip("needs a file system in /dev/shm");
            return None;
        }
        Some(Self { sandbox: Sandbox::within(memory, CFSCTL), text: String::new() })
    }

    /// With an empty repository, SHA-256 and without fs-verity, so that all ids and words are the same everywhere.
    pub(crate) fn with_repository() -> Self {
        let session = Self::new();
        let _ = session.run(["init", "--insecure", "--algorithm", "fsverity-sha256-12"]).success();
        session
    }

    /// With the sample image in the repository, tagged `sample`, and its layout in `sample`.
    pub(crate) fn with_sample() -> Self {
        let session = Self::with_repository();
        sample::write(&session.sandbox.path("sample"));
        let _ = session.run(["--progress=none", "oci", "pull", "oci:sample", "sample"]).success();
        session
    }

    /// Runs cfsctl on the repository without writing it down.
    #[track_caller]
    pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.sandbox.cfsctl(arguments)
    }

    /// Runs cfsctl on the repository and writes it down.
    #[track_caller]
    pub(crate) fn see<A: AsRef<std::ffi::OsStr>>(&mut self, arguments: impl IntoIterator<Item = A>) {
        let output = self.run(arguments);
        self.add(&output);
    }

    /// Runs cfsctl with these arguments alone and writes it down.
    #[track_caller]
    pub(crate) fn see_bare<A: AsRef<std::ffi::OsStr>>(&mut self, arguments: impl IntoIterator<Item = A>) {
        let output = self.sandbox.bare(arguments);
        self.add(&output);
    }

    /// Runs cfsctl on the repository with something on its standard input and writes it down.
    #[track_caller]
    pub(crate) fn see_fed<A: AsRef<std::ffi::OsStr>>(
        &mut self,
        input: impl Into<Vec<u8>>,
        arguments: impl IntoIterator<Item = A>,
    ) {
        let run = self.sandbox.invocation().arg("--repo").arg(self.sandbox.repo()).args(arguments);
        self.add(&run.stdin(input).run());
    }

    /// Writes a run down.
    pub(crate) fn add(&mut self, output: &Output) {
        self.text.push_str(&output.to_string());
        self.text.push('\n');
    }

    /// Writes a remark down.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        self.text.push_str(&format!("# {}\n\n", text.as_ref().trim_end()));
    }

    /// Everything that was written down.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Makes a small tree of files in `tree`, the same every time but for its owner.
    pub(crate) fn tree(&self) -> PathBuf {
        let root = self.sandbox.path("tree");
        let words: String = (1..=300).map(|n| format!("line {n}\n")).collect();
        for (path, contents) in [
            (
                "usr/bin/tool",
                "#!/bin/sh\n# An object of its own, since it has more than 64 bytes.\necho tool\n",
            ),
            ("usr/share/words", words.as_str()),
            ("usr/share/small", "small\n"),
            ("etc/odd name=1", "a name with a blank and an equals sign\n"),
            ("run/gone", "the transform empties /run\n"),
        ] {
            self.sandbox.write(Path::new("tree").join(path), contents);
        }
        fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/same")).unwrap();
        std::os::unix::fs::symlink("bin/tool", root.join("usr/link")).unwrap();
        settle(&root);
        root
    }

    /// Every path of the repository with what it holds and when it was changed: equal texts, nothing happened.
    pub(crate) fn repository_state(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut pending = vec![self.sandbox.repo()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let what = if metadata.is_dir() {
                    pending.push(path.clone());
                    String::new()
                } else if metadata.is_symlink() {
                    fs::read_link(&path).unwrap().display().to_string()
                } else {
                    format!("{} bytes", metadata.len())
                };
                all.push(format!("{} {what} {:?}", path.display(), metadata.modified().unwrap()));
            }
        }
        all.sort();
        all
    }
}

/// Fixes times and modes of a tree.
fn settle(path: &Path) {
    let metadata = path.symlink_metadata().unwrap();
    if metadata.is_symlink() {
        // std cannot set a link's own time; touch can.
        let touched =
            std::process::Command::new("touch").args(["-h", "-d", "@1000000000"]).arg(path).status();
        assert!(touched.unwrap().success());
        return;
    }
    let mode = if metadata.is_dir() || path.ends_with("usr/bin/tool") { 0o755 } else { 0o644 };
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            settle(&entry.unwrap().path());
        }
    }
    if !path.ends_with("usr/bin/same") {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Replaces owner and group in the lines of a dumpfile: trees belong to whoever runs the tests.
pub(crate) fn anybody(output: Output) -> Output {
    output.redact(|list| {
        list.pattern(r"(?m)^(/\S* \S+ \S+ \S+) \d+ \d+ ", "$1 [UID] [GID] ");
    })
}

/// Unpacks an archive of tests/vectors/repo.
pub(crate) fn unpack(archive: &str, to: &Path) {
    let file = fs::File::open(project("tests/vectors/repo").join(archive)).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    archive.set_preserve_permissions(false);
    archive.unpack(to).unwrap();
}

/// The diff_ids of the sample image's layers, lowest first.
pub(crate) fn sample_layers() -> [String; 2] {
    [sample::lower(), sample::upper()].map(|tar| composefs_testkit::images::sha256(&tar))
}

/// The `sha256:…` digest of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    composefs_testkit::images::sha256(bytes)
}

/// The hex digits of a `sha256:…` digest.
pub(crate) fn hex(digest: &str) -> &str {
    digest.split_once(':').unwrap().1
}
