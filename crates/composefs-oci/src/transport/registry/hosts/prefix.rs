//! Which prefix a name has, and what the name is elsewhere.

use super::settings::Registry;

/// Returns the registry whose prefix is the longest that `name`, `host[:port]/path`, has.
pub(super) fn find<'a>(registries: &'a [Registry], name: &str) -> Option<&'a Registry> {
    // A wildcard is never longer than the host it stands for; of the same length, the host itself counts.
    registries
        .iter()
        .filter(|registry| matches(&registry.prefix, name))
        .max_by_key(|registry| (registry.prefix.len(), !registry.prefix.starts_with('*')))
}

fn matches(prefix: &str, name: &str) -> bool {
    match prefix.strip_prefix('*') {
        Some(domain) => without_port(host(name)).strip_suffix(domain).is_some_and(|label| !label.is_empty()),
        None => {
            name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
        }
    }
}

/// Returns what `name`, which has `prefix`, is at `location`.
pub(super) fn rewrite(name: &str, prefix: &str, location: &str) -> String {
    let rest = match prefix.strip_prefix('*') {
        Some(_) if location.is_empty() => return name.to_owned(),
        Some(_) => name.get(host(name).len()..),
        None => name.strip_prefix(prefix),
    };
    format!("{location}{}", rest.unwrap_or_default())
}

fn host(name: &str) -> &str {
    name.split_once('/').map_or(name, |(host, _)| host)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((host, _)) if !host.ends_with(':') => host,
        _ => host,
    }
}
