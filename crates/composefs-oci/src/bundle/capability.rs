//! What root in the container may do.

use std::collections::BTreeSet;

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};

use super::BundleError;

/// What podman gives a container.
const DEFAULT: [Capability; 11] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::NetBindService,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// The word for all that the kernel has.
const ALL: &str = "ALL";

/// Every capability there is, up to Linux 6.
const EVERY: &str = "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE \
    DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN \
    NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_BOOT SYS_CHROOT \
    SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM";

/// A capability by its name, with or without `CAP_`, in upper or lower case.
fn parse(name: &str) -> Result<Capability, BundleError> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    short.parse().map_err(|_| BundleError::Capability { name: name.to_owned() })
}

fn set(names: &[String]) -> Result<BTreeSet<String>, BundleError> {
    let mut found = BTreeSet::new();
    for name in names {
        if name.eq_ignore_ascii_case(ALL) {
            found.extend(EVERY.split_ascii_whitespace().map(str::to_owned));
        } else {
            found.insert(parse(name)?.to_string());
        }
    }
    Ok(found)
}

/// The names of what a container gets: the default, less `drop`, and `add`, in the order of the alphabet.
///
/// # Errors
/// [`BundleError::Capability`].
pub fn names(add: &[String], drop: &[String]) -> Result<BTreeSet<String>, BundleError> {
    let (add, drop) = (set(add)?, set(drop)?);
    let mut names: BTreeSet<String> = DEFAULT.iter().map(ToString::to_string).collect();
    names.retain(|name| !drop.contains(name));
    names.extend(add);
    Ok(names)
}

/// The sets of a process: root has all of them, another user may get them from programs that carry them.
pub(super) fn of(names: &BTreeSet<String>, uid: u32) -> Result<LinuxCapabilities, BundleError> {
    let all: Capabilities = names.iter().map(|name| parse(name)).collect::<Result<_, _>>()?;
    let own = if uid == 0 { all.clone() } else { Capabilities::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(all)
        .effective(own.clone())
        .permitted(own)
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()
        .map_err(|error| BundleError::Specification { reason: error.to_string() })
}
