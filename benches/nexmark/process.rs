//! What this process uses.

/// CPU-seconds of the threads of this process so far, as Linux accounts them to the nanosecond.
pub fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("schedstat")).ok());
    let nanos: f64 = stats.map(|s| s.split(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    nanos / 1e9
}

/// Bytes of memory that are resident.
pub fn resident_bytes() -> usize {
    const PAGE_BYTES: usize = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE_BYTES
}
