//! Commands that a person is told to run, as a shell takes them.

/// Joins program and arguments, quoted where a shell would see more than a word.
pub(crate) fn line(command: &[String]) -> String {
    command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        let words =
            ["cfsctl", "a b", "", "it's", "$(x)", "--", "registry:5000/a@sha256:0"].map(str::to_owned);
        assert_eq!(line(&words), r"cfsctl 'a b' '' 'it'\''s' '$(x)' -- registry:5000/a@sha256:0");
    }
}
