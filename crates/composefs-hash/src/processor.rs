//! What this processor can do.

use std::sync::atomic::{AtomicBool, Ordering};

static PORTABLE: AtomicBool = AtomicBool::new(false);

/// From now on uses `sha2` alone, in the whole process: for figures that do not depend on the processor.
pub fn force_portable() {
    PORTABLE.store(true, Ordering::Relaxed);
}

fn is_allowed() -> bool {
    !PORTABLE.load(Ordering::Relaxed)
}

/// Tells whether there are instructions for SHA-256, and what goes with them.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_sha() -> bool {
    use std::arch::is_x86_feature_detected as has;
    is_allowed() && has!("sha") && has!("ssse3") && has!("sse4.1")
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx2() -> bool {
    is_allowed() && std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    is_allowed() && has!("avx512f") && has!("avx512bw") && has!("avx512vl")
}

/// Names the instructions in use: `portable`, or some of `sha`, `avx2`, `avx512`.
#[must_use]
pub fn name() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let found = [(has_sha(), "sha"), (has_avx2(), "avx2"), (has_avx512(), "avx512")];
        let names: Vec<_> = found.into_iter().filter_map(|(has, name)| has.then_some(name)).collect();
        if !names.is_empty() {
            return names.join(" ");
        }
    }
    let _ = is_allowed();
    "portable".to_owned()
}
