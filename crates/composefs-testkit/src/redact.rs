//! What varies from run to run, replaced by names before a snapshot is compared.
//!
//! One list, so that all snapshots read alike: `[ROOT]` is the sandbox, `[ELAPSED]` a duration, `[RATE]` a speed,
//! `[FREE]` the room on a disk, `[TMP]` a temporary directory that is not the sandbox's. Digests stay, since they are
//! what this project promises to repeat; a test whose digests do vary asks for [`Redactions::digests`].

use regex::Regex;
use std::path::Path;

/// An ordered list of replacements; later ones see what earlier ones made.
#[derive(Clone, Debug, Default)]
pub struct Redactions {
    literal: Vec<(String, String)>,
    pattern: Vec<(Regex, &'static str)>,
}

impl Redactions {
    /// Makes the list every snapshot needs: durations, speeds and foreign temporary directories.
    #[must_use]
    pub fn standard() -> Self {
        let mut list = Self::default();
        list.pattern(r"/tmp/\.tmp[A-Za-z0-9]{6}", "[TMP]");
        list.pattern(r"\b\d+(\.\d+)? ?[KMG]i?B/s\b", "[RATE]");
        list.pattern(r"\b\d+(\.\d+)? ?(ns|µs|us|ms|s|secs?|seconds?|min)\b", "[ELAPSED]");
        // What is left on the disk that the test is run on.
        list.pattern(r"\b\d+(\.\d+)? ?(B|[KMGTPE]iB) are free", "[FREE] are free");
        list.pattern(r#""available": \d+"#, "\"available\": [FREE]");
        // Not every file system has such a limit.
        list.pattern(r#""files_available": (\d+|null)"#, "\"files_available\": [FREE]");
        list
    }

    /// Replaces the path `path` by `name`; longer paths first, whatever the order of the calls.
    pub fn path(&mut self, path: &Path, name: &str) -> &mut Self {
        self.literal.push((path.display().to_string(), name.to_owned()));
        self.literal.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        self
    }

    /// Replaces what `pattern` matches by `name`, in which `$1` is the first group.
    ///
    /// # Panics
    /// When `pattern` is no regular expression.
    pub fn pattern(&mut self, pattern: &str, name: &'static str) -> &mut Self {
        self.pattern.push((Regex::new(pattern).expect("a redaction is a regular expression"), name));
        self
    }

    /// Replaces digests of 64 or 128 hex digits, and object paths, by `[DIGEST]`.
    pub fn digests(&mut self) -> &mut Self {
        self.pattern(r"\b[0-9a-f]{2}/(?:[0-9a-f]{126}|[0-9a-f]{62})\b", "[OBJECT]");
        self.pattern(r"\b(?:[0-9a-f]{128}|[0-9a-f]{64})\b", "[DIGEST]")
    }

    /// Replaces byte counts in words, `4.88 KiB` or `512 B`, by `[SIZE]`.
    pub fn sizes(&mut self) -> &mut Self {
        self.pattern(r"\b\d+(\.\d+)? ?(B|[KMGT]i?B|bytes)\b", "[SIZE]")
    }

    /// Returns `text` with everything on the list replaced.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (literal, name) in &self.literal {
            text = text.replace(literal, name);
        }
        for (pattern, name) in &self.pattern {
            text = pattern.replace_all(&text, *name).into_owned();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_paths_longest_first_and_what_varies() {
        let mut list = Redactions::standard();
        list.path(Path::new("/tmp/x"), "[ROOT]").path(Path::new("/tmp/x/repo"), "[REPO]").sizes();
        assert_eq!(
            list.apply("/tmp/x/repo and /tmp/x in 1.25 s, 4.88 KiB at 3 MiB/s, 2 layers"),
            "[REPO] and [ROOT] in [ELAPSED], [SIZE] at [RATE], 2 layers"
        );
    }

    #[test]
    fn digests_are_kept_unless_asked() {
        let id = "ab".repeat(32);
        assert_eq!(Redactions::standard().apply(&id), id);
        assert_eq!(Redactions::standard().digests().apply(&format!("sha256:{id}")), "sha256:[DIGEST]");
        let object = format!("objects/ab/{}", "cd".repeat(31));
        assert_eq!(Redactions::standard().digests().apply(&object), "objects/[OBJECT]");
    }
}
