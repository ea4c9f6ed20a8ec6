//! Puts this thread and an instance on one processor.
//!
//! Two programs that hand a request back and forth land on one processor or on two, as the scheduler likes. On one, a
//! call is two switches between programs and nothing has to be woken elsewhere.

use crate::backend::Attribution;
use crate::processors::{self, OURS};
use std::fs;

/// This thread on one processor with an instance, until it is dropped. The instance stays there.
pub struct SameCore(());

impl SameCore {
    /// Moves every thread of the instance's processes to the processor that this thread is on. `None` where the instance
    /// lives in this process, has no process here, or may not be moved.
    pub fn with(instance: &Attribution) -> Option<SameCore> {
        let pids = &instance.pids;
        if pids.is_empty() || pids.contains(&std::process::id()) {
            return None;
        }
        // SAFETY: a plain call.
        let here = usize::try_from(unsafe { libc::sched_getcpu() }).ok()?;
        let moved = pids.iter().flat_map(|pid| threads(*pid)).all(|tid| processors::pin(tid, [here]));
        (moved && processors::pin(0, [here])).then_some(SameCore(()))
    }
}

impl Drop for SameCore {
    fn drop(&mut self) {
        processors::pin(0, OURS.each());
    }
}

fn threads(pid: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn another_process_is_moved_and_this_thread_may_leave_again() {
        assert!(SameCore::with(&Attribution::this_process()).is_none());
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let together = SameCore::with(&Attribution::process(child.id()));
        let allowed = |task: &str| {
            let status = fs::read_to_string(format!("/proc/{task}/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap();
            line.split_whitespace().nth(1).unwrap().to_string()
        };
        let (theirs, ours) = (allowed(&child.id().to_string()), allowed("thread-self"));
        drop(together);
        let later = allowed("thread-self");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(theirs.parse::<usize>().is_ok() && theirs == ours, "{theirs} {ours}");
        assert_eq!(later, OURS.list());
    }
}
