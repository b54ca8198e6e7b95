//! Points at which a test may end the process, as a power cut would: debug builds only, nothing in a release.
//!
//! `TIDEGATE_DIE_AT=n` ends the process at the n-th point that it reaches, counted from 1.

/// A point with a name: `TIDEGATE_DIE_AT_POINT=name` ends the process there.
#[inline]
pub fn named(_name: &str) {
    #[cfg(debug_assertions)]
    armed::named(_name);
}

/// One point. Does nothing in a release build.
#[inline]
pub fn point() {
    #[cfg(debug_assertions)]
    armed::point();
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static REACHED: AtomicU64 = AtomicU64::new(0);
    static DIE_AT: OnceLock<Option<u64>> = OnceLock::new();

    pub fn named(name: &str) {
        if std::env::var("TIDEGATE_DIE_AT_POINT").is_ok_and(|point| point == name) {
            std::process::abort();
        }
    }

    pub fn point() {
        let die_at = DIE_AT.get_or_init(|| std::env::var("TIDEGATE_DIE_AT").ok()?.parse().ok());
        if let Some(die_at) = die_at
            && REACHED.fetch_add(1, Ordering::Relaxed) + 1 == *die_at
        {
            // No destructor, no flush: what SIGKILL leaves.
            std::process::abort();
        }
    }
}
