//! Which system calls a container may make.
//!
//! # Format
//! `seccomp.json` of podman and Docker: rules with conditions on capabilities and architectures; out comes
//! `linux.seccomp` of the runtime specification, where every condition has been decided.

use std::collections::BTreeSet;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder, LinuxSyscall,
    LinuxSyscallBuilder,
};
use serde::Deserialize;

use super::BundleError;

/// The profile that is used where the system has none: all calls but those that reach the machine, its clock, its
/// modules, other processes' memory or new namespaces, unless the container has the capability for them.
pub const BUILT_IN: &[u8] = include_bytes!("seccomp/built-in.json");

/// The most bytes of a profile.
pub const PROFILE_MAX: usize = 1 << 20;

/// The most rules of a profile.
const RULES_MAX: usize = 4096;

/// Where podman looks for the system's profile, the first one first.
pub const PLACES: [&str; 2] = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Option<Vec<Family>>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// This processor in the words of profiles: in rules as Go calls it, in the map as libseccomp does.
const fn native() -> Option<(&'static str, Arch)> {
    if cfg!(target_arch = "x86_64") {
        Some(("amd64", Arch::ScmpArchX86_64))
    } else if cfg!(target_arch = "aarch64") {
        Some(("arm64", Arch::ScmpArchAarch64))
    } else if cfg!(target_arch = "riscv64") {
        Some(("riscv64", Arch::ScmpArchRiscv64))
    } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
        Some(("ppc64le", Arch::ScmpArchPpc64le))
    } else if cfg!(target_arch = "s390x") {
        Some(("s390x", Arch::ScmpArchS390x))
    } else {
        None
    }
}

impl Condition {
    fn has_any_capability(&self, capabilities: &BTreeSet<String>) -> Option<bool> {
        let caps = self.caps.as_ref().filter(|caps| !caps.is_empty())?;
        Some(caps.iter().any(|cap| capabilities.contains(cap.strip_prefix("CAP_").unwrap_or(cap))))
    }

    fn has_this_processor(&self) -> Option<bool> {
        let arches = self.arches.as_ref().filter(|arches| !arches.is_empty())?;
        Some(native().is_some_and(|(name, _)| arches.iter().any(|arch| arch == name)))
    }
}

impl Rule {
    /// Tells whether the rule is for this container here. A kernel too old for a call refuses it itself, so a
    /// condition on the kernel's version is taken as met.
    fn applies(&self, capabilities: &BTreeSet<String>) -> bool {
        self.includes.has_any_capability(capabilities).unwrap_or(true)
            && self.includes.has_this_processor().unwrap_or(true)
            && !self.excludes.has_any_capability(capabilities).unwrap_or(false)
            && !self.excludes.has_this_processor().unwrap_or(false)
            && self.excludes.min_kernel.is_none()
    }
}

/// Decides a profile's conditions for a container with these capabilities.
///
/// # Errors
/// [`BundleError::Seccomp`].
pub fn decide(
    place: &str,
    text: &[u8],
    capabilities: &BTreeSet<String>,
) -> Result<LinuxSeccomp, BundleError> {
    let refused = |reason: String| BundleError::Seccomp { place: place.to_owned(), reason };
    if text.len() > PROFILE_MAX {
        return Err(refused(format!("{} bytes, more than {PROFILE_MAX}", text.len())));
    }
    let profile: Profile = serde_json::from_slice(text).map_err(|error| refused(error.to_string()))?;
    let rules = profile.syscalls.unwrap_or_default();
    if rules.len() > RULES_MAX {
        return Err(refused(format!("{} rules, more than {RULES_MAX}", rules.len())));
    }
    let architectures = profile.architectures.filter(|list| !list.is_empty()).unwrap_or_else(|| {
        let Some((_, native)) = native() else { return Vec::new() };
        let map = profile.arch_map.unwrap_or_default();
        let family = map.into_iter().find(|family| family.architecture == native);
        let further = family.and_then(|family| family.sub_architectures).unwrap_or_default();
        std::iter::once(native).chain(further).collect()
    });
    let syscalls = rules
        .into_iter()
        .filter(|rule| rule.applies(capabilities))
        .map(syscall)
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    let mut built = LinuxSeccompBuilder::default()
        .default_action(profile.default_action)
        .architectures(architectures)
        .syscalls(syscalls);
    if let Some(errno) = profile.default_errno_ret {
        built = built.default_errno_ret(errno);
    }
    built.build().map_err(|error| refused(error.to_string()))
}

fn syscall(rule: Rule) -> Result<LinuxSyscall, String> {
    let names: Vec<String> = rule.names.into_iter().chain(rule.name).collect();
    if names.is_empty() {
        return Err("a rule names no system call".to_owned());
    }
    let mut built = LinuxSyscallBuilder::default().names(names).action(rule.action);
    if let Some(errno) = rule.errno_ret {
        built = built.errno_ret(errno);
    }
    if let Some(args) = rule.args.filter(|args| !args.is_empty()) {
        built = built.args(args);
    }
    built.build().map_err(|error| error.to_string())
}
