//! Whose things are: everything that outlives a process by accident carries that process's tag, so that debris is told
//! from what a parallel run is using.

use crate::reap::start_time;

/// This process's tag: `<pid>-<start time in clock ticks since boot>`. The time tells a reused pid apart.
pub fn me() -> String {
    let pid = std::process::id();
    format!("{pid}-{}", start_time(pid).unwrap_or(0))
}

/// Whether the process of that tag is gone. What is no tag belongs to nobody we know, and is left alone.
pub fn is_gone(tag: &str) -> bool {
    let Some((pid, started)) = tag.split_once('-') else { return false };
    match (pid.parse(), started.parse()) {
        (Ok(pid), Ok(started)) => start_time(pid) != Some(started),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_the_dead_and_strangers() {
        assert!(!is_gone(&me()));
        assert!(is_gone(&format!("{}-1", std::process::id())), "a reused pid is not its former owner");
        assert!(is_gone("4194304999-5"), "a pid that no kernel gives out");
        assert!(!is_gone("latest"));
    }
}
