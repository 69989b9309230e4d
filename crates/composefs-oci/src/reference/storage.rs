//! The name of an image in a store of podman's.
//!
//! # Format
//! `docs/formats/transports.md`, section 1: `[DRIVER@ROOT+RUN:OPTIONS]REF`, every part of the brackets optional.

use std::{fmt, path::PathBuf};

/// An image in a store of podman's. What the name means depends on what is in the store, so it is kept as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InStorage {
    text: String,
    store: StoreChoice,
    image: String,
}

/// Which store: what is not said comes from the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreChoice {
    /// The storage driver.
    pub driver: Option<String>,
    /// Where layers and images are.
    pub graph_root: Option<PathBuf>,
    /// Where state is that goes with a boot.
    pub run_root: Option<PathBuf>,
    /// Options of the driver, `key=value`.
    pub options: Vec<String>,
}

impl InStorage {
    /// Parses what is behind `containers-storage:`; `None` if that names no image.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (store, image) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(store, image)| (StoreChoice::parse(store), image))?,
            None => (StoreChoice::default(), text),
        };
        (!image.is_empty()).then(|| Self { text: text.to_owned(), store, image: image.to_owned() })
    }

    /// Returns which store is meant.
    #[must_use]
    pub const fn store(&self) -> &StoreChoice {
        &self.store
    }

    /// Returns the name or id, perhaps both.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }
}

impl StoreChoice {
    fn parse(text: &str) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (text, options) = text.split_once(':').unwrap_or((text, ""));
        let (text, run_root) = text.split_once('+').unwrap_or((text, ""));
        let (driver, graph_root) = text.split_once('@').unwrap_or(("", text));
        Self {
            driver: some(driver),
            graph_root: some(graph_root).map(PathBuf::from),
            run_root: some(run_root).map(PathBuf::from),
            options: options.split(',').filter_map(some).collect(),
        }
    }
}

impl fmt::Display for InStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets() {
        let parse = |text: &str| InStorage::parse(text).unwrap();
        let whole = parse("[overlay@/root+/run:a=b,c=d]localhost/x:v1@abc");
        assert_eq!(whole.image(), "localhost/x:v1@abc");
        assert_eq!(whole.store().driver.as_deref(), Some("overlay"));
        assert_eq!(whole.store().graph_root, Some("/root".into()));
        assert_eq!(whole.store().run_root, Some("/run".into()));
        assert_eq!(whole.store().options, ["a=b", "c=d"]);
        assert_eq!(whole.to_string(), "[overlay@/root+/run:a=b,c=d]localhost/x:v1@abc");
        let root = parse("[/root]x");
        assert_eq!((&root.store().driver, &root.store().graph_root), (&None, &Some("/root".into())));
        assert_eq!(
            parse("[vfs@]x").store(),
            &StoreChoice { driver: Some("vfs".into()), ..Default::default() }
        );
        assert_eq!(parse("x").store(), &StoreChoice::default());
        assert_eq!(InStorage::parse("[overlay@/root]"), None);
        assert_eq!(InStorage::parse("[overlay@/root"), None);
    }
}
