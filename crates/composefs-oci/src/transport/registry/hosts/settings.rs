//! One `registries.conf` and its drop-ins: text in, settings out; no file is touched.
//!
//! # Format
//! `docs/formats/transports.md`, section 4.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What `registries.conf` and its drop-ins say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub(super) search: Vec<String>,
    pub(super) mode: ShortNameMode,
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) registries: Vec<Registry>,
}

/// What is done about a short name that has no alias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShortNameMode {
    /// One search registry is taken, of several the user must choose.
    #[default]
    Enforcing,
    /// The search registries are tried in order where nobody can be asked.
    Permissive,
    /// The search registries are tried in order.
    Disabled,
}

/// What is set for the names that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    pub(super) prefix: String,
    /// Empty, below a wildcard, means that names stay.
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) blocked: bool,
    pub(super) mirrors: Vec<Mirror>,
}

/// A place to try before the registry itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) pull: PullFrom,
}

/// For which references a mirror is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullFrom {
    /// For all.
    #[default]
    All,
    /// For those with a digest.
    DigestOnly,
    /// For those without.
    TagOnly,
}

/// Why a text is no `registries.conf`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It is not TOML, or a value has another type.
    #[error("line {line}: {message}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The old and the new form in one file.
    #[error(
        "the tables [registries.search], [registries.insecure] and [registries.block] do not go with the newer [[registry]]"
    )]
    Mixed,
    /// A table without the field that says what it is for.
    #[error("a [[registry]] has neither prefix nor location")]
    Nameless,
    /// A table that says nothing about where to go.
    #[error("[[registry]] `{0}` has no location")]
    NoLocation(String),
    /// A prefix with a `*` in another place than in front.
    #[error("`{0}` is no prefix: a wildcard is `*.` and a domain, with no port and no path")]
    Wildcard(String),
    /// A place that is no host with an optional path.
    #[error("`{0}` is no location: a host, perhaps with a port and a path")]
    Location(String),
    /// The same prefix twice, with different settings.
    #[error("[[registry]] `{0}` is there twice")]
    Twice(String),
    /// An unknown word.
    #[error("{field}: unknown value `{value}`")]
    Value {
        /// The field.
        field: &'static str,
        /// What it says.
        value: String,
    },
    /// Two settings for one thing.
    #[error("[[registry]] `{0}` has mirror-by-digest-only, and a mirror of it pull-from-mirror")]
    TwoMirrorRules(String),
    /// An entry of the search list that is no host.
    #[error("unqualified-search-registries: `{0}` is no registry")]
    Search(String),
    /// An alias of a name that is none, or for one that is not full.
    #[error("alias `{name}` = `{value}`: a short name without a tag stands for a full one without a tag")]
    Alias {
        /// What it replaces.
        name: String,
        /// What it is replaced with.
        value: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    registry: Vec<RegistryTable>,
    registries: Option<OldTables>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct RegistryTable {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct MirrorTable {
    location: String,
    insecure: bool,
    pull_from_mirror: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OldTables {
    search: OldTable,
    insecure: OldTable,
    block: OldTable,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OldTable {
    registries: Vec<String>,
}

/// What one file says; `None` leaves what files before it said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    search: Option<Vec<String>>,
    mode: Option<ShortNameMode>,
    aliases: BTreeMap<String, String>,
    registries: Vec<Registry>,
}

impl Layer {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let file: File = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        let mut layer = Self {
            mode: file.short_name_mode.as_deref().map(mode).transpose()?,
            aliases: file.aliases,
            ..Self::default()
        };
        for (name, value) in &layer.aliases {
            if !is_short(name) || !(value.is_empty() || is_full(value)) {
                return Err(SettingsError::Alias { name: name.clone(), value: value.clone() });
            }
        }
        let is_new = file.unqualified_search_registries.is_some() || !file.registry.is_empty();
        let mut registries: Vec<RegistryTable> = file.registry;
        layer.search = file.unqualified_search_registries;
        if let Some(old) = file.registries {
            let has_old =
                [&old.search, &old.insecure, &old.block].iter().any(|old| !old.registries.is_empty());
            if is_new && has_old {
                return Err(SettingsError::Mixed);
            }
            if has_old {
                layer.search = Some(old.search.registries);
                registries = old_tables(old.insecure.registries, old.block.registries);
            }
        }
        for host in layer.search.iter_mut().flatten() {
            *host = host.trim_end_matches('/').to_owned();
            if host.is_empty() || host.contains(|c: char| c == '/' || c.is_whitespace()) {
                return Err(SettingsError::Search(host.clone()));
            }
        }
        for table in registries {
            let registry = table.check()?;
            match layer.registries.iter().find(|have| have.prefix == registry.prefix) {
                Some(have) if *have == registry => {}
                Some(_) => return Err(SettingsError::Twice(registry.prefix)),
                None => layer.registries.push(registry),
            }
        }
        Ok(layer)
    }
}

/// One table for each registry that the old form names; one may be named in both lists.
fn old_tables(insecure: Vec<String>, block: Vec<String>) -> Vec<RegistryTable> {
    let mut tables: BTreeMap<String, RegistryTable> = BTreeMap::new();
    for (list, blocked) in [(insecure, false), (block, true)] {
        for location in list {
            let table = tables.entry(location.clone()).or_default();
            table.location = location;
            table.blocked |= blocked;
            table.insecure |= !blocked;
        }
    }
    tables.into_values().collect()
}

impl RegistryTable {
    fn check(self) -> Result<Registry, SettingsError> {
        let location = place(&self.location)?;
        let prefix = if self.prefix.is_empty() { location.clone() } else { place(&self.prefix)? };
        if prefix.is_empty() {
            return Err(SettingsError::Nameless);
        }
        if prefix.contains('*') {
            let domain = prefix.strip_prefix("*.").unwrap_or_default();
            if domain.is_empty() || domain.contains(['*', '/', ':', '@']) {
                return Err(SettingsError::Wildcard(prefix));
            }
        } else if location.is_empty() && !self.blocked {
            return Err(SettingsError::NoLocation(prefix));
        }
        if location.contains('*') {
            return Err(SettingsError::Location(location));
        }
        let mirrors = self.mirror.into_iter().map(|mirror| {
            let pull = match mirror.pull_from_mirror.as_str() {
                "" if self.mirror_by_digest_only => PullFrom::DigestOnly,
                "" => PullFrom::All,
                _ if self.mirror_by_digest_only => return Err(SettingsError::TwoMirrorRules(prefix.clone())),
                "all" => PullFrom::All,
                "digest-only" => PullFrom::DigestOnly,
                "tag-only" => PullFrom::TagOnly,
                other => {
                    let (field, value) = ("pull-from-mirror", other.to_owned());
                    return Err(SettingsError::Value { field, value });
                }
            };
            let location = place(&mirror.location)?;
            if location.is_empty() || location.contains('*') {
                return Err(SettingsError::Location(location));
            }
            Ok(Mirror { location, insecure: mirror.insecure, pull })
        });
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        Ok(Registry { prefix, location, insecure: self.insecure, blocked: self.blocked, mirrors })
    }
}

/// Checks a prefix or location; slashes at its end mean nothing.
fn place(text: &str) -> Result<String, SettingsError> {
    let place = text.trim_end_matches('/');
    if place.contains("://") || place.starts_with('/') || place.contains(char::is_whitespace) {
        return Err(SettingsError::Location(text.to_owned()));
    }
    Ok(place.to_owned())
}

fn mode(text: &str) -> Result<ShortNameMode, SettingsError> {
    match text {
        "" | "enforcing" => Ok(ShortNameMode::Enforcing),
        "permissive" => Ok(ShortNameMode::Permissive),
        "disabled" => Ok(ShortNameMode::Disabled),
        other => Err(SettingsError::Value { field: "short-name-mode", value: other.to_owned() }),
    }
}

fn is_short(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    !first.is_empty() && first != "localhost" && !first.contains('.') && !name.contains([':', '@'])
}

fn is_full(name: &str) -> bool {
    let Some((host, path)) = name.split_once('/') else { return false };
    crate::reference::looks_like_domain(host) && !path.is_empty() && !path.contains([':', '@'])
}

fn syntax(text: &str, error: &toml::de::Error) -> SettingsError {
    let at = error.span().map_or(0, |span| span.start);
    let line = text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    SettingsError::Syntax { line, message: error.message().to_owned() }
}

impl Settings {
    /// Lays what another file says over what is there: registries of the same prefix are replaced, aliases are
    /// merged, and an empty alias takes one away.
    pub fn add(&mut self, layer: Layer) {
        if let Some(search) = layer.search {
            self.search = search;
        }
        if let Some(mode) = layer.mode {
            self.mode = mode;
        }
        for (name, value) in layer.aliases {
            if value.is_empty() {
                self.aliases.remove(&name);
            } else {
                self.aliases.insert(name, value);
            }
        }
        for registry in layer.registries {
            match self.registries.iter_mut().find(|have| have.prefix == registry.prefix) {
                Some(have) => *have = registry,
                None => self.registries.push(registry),
            }
        }
    }
}
