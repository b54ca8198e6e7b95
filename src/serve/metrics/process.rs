//! The process as the system sees it; where the system does not tell, nothing is said.

use std::fs;

use super::exposition::{Exposition, Kind};
use crate::model::Instant;

/// Ticks of the CPU clock in a second, as the kernel reports them to programs.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn expose(exposition: &mut Exposition, started_at: Instant) {
    let help = "When the process began, in seconds since 1970.";
    exposition.single("process_start_time_seconds", Kind::Gauge, help, started_at.0 as f64 / 1e6);
    if let Some(seconds) = cpu_seconds() {
        let help = "CPU time of the process, user and system.";
        exposition.single("process_cpu_seconds_total", Kind::Counter, help, seconds);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, field, help) in [
        ("process_resident_memory_bytes", "VmRSS:", "Memory of the process that is in use."),
        ("process_resident_memory_peak_bytes", "VmHWM:", "The most memory that was in use at a time."),
        ("process_virtual_memory_bytes", "VmSize:", "Addresses that the process has claimed."),
    ] {
        if let Some(kilobytes) = field_of(&status, field) {
            exposition.single(name, Kind::Gauge, help, kilobytes * 1024.0);
        }
    }
    if let Some(threads) = field_of(&status, "Threads:") {
        exposition.single("process_threads", Kind::Gauge, "Threads of the process.", threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        exposition.single("process_open_fds", Kind::Gauge, "Files and sockets that are open.", open.count() as f64);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    if let Some(most) = most.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()) {
        exposition.single("process_max_fds", Kind::Gauge, "Files and sockets that may be open.", most);
    }
}

fn field_of(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may hold anything but ends with the last parenthesis; utime and stime are the 12th and
    // 13th field after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}
