//! The limits of the harness itself: errors that say nothing about the row that happened to meet them.
//!
//! The errors are recognised by their text. Most of them arrive as text: from a daemon, from the standard error of an
//! agent, from the runtime of another language. An [`std::io::Error`] prints `(os error N)`, which is as exact as its
//! number.

use crate::fault::FaultKind;

/// A limit of the harness, and what lifts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// [`FaultKind::HarnessLimit`] or [`FaultKind::DiskFull`].
    pub kind: FaultKind,
    /// What a person does about it.
    pub remedy: &'static str,
}

/// One limit and the words by which its errors are known, in lower case.
struct Signature {
    words: &'static [&'static str],
    limit: Limit,
    /// A guest at its own memory limit can cause the same words.
    guest_too: bool,
}

const fn limit(words: &'static [&'static str], remedy: &'static str) -> Signature {
    Signature { words, limit: Limit { kind: FaultKind::HarnessLimit, remedy }, guest_too: false }
}

const SIGNATURES: [Signature; 10] = [
    // ENFILE comes before EMFILE: its text begins with the same words.
    limit(&["too many open files in system", "(os error 23)"], "raise the system's limit: sysctl fs.file-max"),
    limit(
        &["too many open files", "(os error 24)"],
        "isobench reached its limit of open files: raise the hard limit (`ulimit -Hn`) or ask for fewer instances",
    ),
    limit(
        &[
            "resource temporarily unavailable",
            "(os error 11)",
            "failed to spawn thread",
            "failed to create new os thread",
            "pthread_create failed",
            "thread->start()",
            "uv_thread_create",
            "a thread for deadlines",
        ],
        "no process or thread could be created: raise `ulimit -u`, the cgroup's pids.max or sysctl kernel.threads-max, \
         or ask for fewer instances",
    ),
    limit(
        &["must be shorter than sun_len", "unix socket path too long", "path too long for unix domain socket"],
        "the path of a socket has at most 107 bytes: set ISOBENCH_STATE to a shorter folder, for example /tmp/ib",
    ),
    // Wasmtime's own error. The number of slots is a setting of isobench's, no property of the engine.
    limit(
        &["maximum concurrent limit of"],
        "isobench gives the pool of Wasmtime that many slots: ask for fewer instances at once",
    ),
    // Wasmtime's words for code that this processor cannot run. isobench chooses what it compiles for.
    limit(
        &["settings are not compatible with the native host"],
        "isobench compiles Wasm for x86-64-v2 with LZCNT and BMI, which this processor lacks: use one of 2013 or later, or \
         a virtual machine that passes these through",
    ),
    // V8 reserves address space before any guest runs: its "out of memory" is not the guest's.
    limit(
        &[
            "cagedheap reservation",
            "failed to reserve virtual memory",
            "failed to reserve the virtual address space",
            "failed to reserve memory for",
        ],
        "the engine could not reserve address space: raise or lift `ulimit -v`, or set sysctl vm.overcommit_memory=0",
    ),
    Signature {
        words: &["cannot allocate memory", "(os error 12)"],
        limit: Limit {
            kind: FaultKind::HarnessLimit,
            remedy: "the kernel refused memory to isobench: raise `ulimit -v`, the cgroup's memory limit or sysctl \
                     vm.max_map_count, or ask for fewer instances",
        },
        guest_too: true,
    },
    Signature {
        words: &["no space left on device", "(os error 28)"],
        limit: Limit {
            kind: FaultKind::DiskFull,
            remedy: "free space where the cache (ISOBENCH_CACHE), the state folder (ISOBENCH_STATE) and the results lie",
        },
        guest_too: false,
    },
    Signature {
        words: &["disk quota exceeded", "(os error 122)"],
        limit: Limit {
            kind: FaultKind::DiskFull,
            remedy: "the user's disk quota is used up: free space, or move ISOBENCH_CACHE, ISOBENCH_STATE and --out",
        },
        guest_too: false,
    },
];

/// Decides whether a fault of `kind` with this `message` is a limit of the harness. Faults that judge a guest's answer,
/// its exceptions or a deadline never are, whatever their text says: a guest can write it.
pub fn reached(kind: FaultKind, message: &str) -> Option<Limit> {
    let guests_memory = match kind {
        FaultKind::NoHello
        | FaultKind::ChannelClosed
        | FaultKind::InvalidGuest
        | FaultKind::BackendFailed
        | FaultKind::RunnerDied
        | FaultKind::Internal => false,
        FaultKind::GuestTrap | FaultKind::OutOfMemory => true,
        _ => return None,
    };
    let message = message.to_lowercase();
    SIGNATURES
        .iter()
        .filter(|signature| !(signature.guest_too && guests_memory))
        .find(|signature| signature.words.iter().any(|words| message.contains(words)))
        .map(|signature| signature.limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use std::io;

    #[test]
    fn an_error_of_the_system_is_known_by_its_number() {
        // EMFILE, ENFILE, EAGAIN, ENOMEM, ENOSPC, EDQUOT as on x86-64 Linux.
        let expected = [
            (24, FaultKind::HarnessLimit, "ulimit -Hn"),
            (23, FaultKind::HarnessLimit, "fs.file-max"),
            (11, FaultKind::HarnessLimit, "ulimit -u"),
            (12, FaultKind::HarnessLimit, "vm.max_map_count"),
            (28, FaultKind::DiskFull, "free space"),
            (122, FaultKind::DiskFull, "quota"),
        ];
        for (number, kind, remedy) in expected {
            let error = io::Error::from_raw_os_error(number);
            for otherwise in [FaultKind::BackendFailed, FaultKind::InvalidGuest, FaultKind::Internal] {
                let fault = Fault::new(otherwise, format!("agent: {error}"));
                assert_eq!(fault.kind, kind, "{error}");
                assert!(fault.message.contains(remedy), "{fault}");
            }
        }
        // EACCES, ENOENT and EEXIST are no limit.
        for number in [13, 2, 17] {
            let fault = Fault::backend(io::Error::from_raw_os_error(number).to_string());
            assert_eq!(fault.kind, FaultKind::BackendFailed);
        }
    }

    #[test]
    fn other_programs_words_are_known() {
        let seen = [
            "the agent died of signal 6 (SIGABRT: it gave up): thread 'main' panicked: failed to spawn thread: Os { code: 11",
            "# Fatal process out of memory: Oilpan: CagedHeap reservation.",
            "runtime/cgo: pthread_create failed: Resource temporarily unavailable",
            "socket /tmp/x/1.sock: path must be shorter than SUN_LEN",
            "starting the module: maximum concurrent limit of 320 for core instances reached",
            "echo.cwasm: compilation settings are not compatible with the native host: compilation setting \"has_ssse3\" is enabled",
            "Error response from daemon: fork/exec /usr/bin/runc: resource temporarily unavailable",
        ];
        for words in seen {
            assert_eq!(Fault::new(FaultKind::GuestTrap, words).kind, FaultKind::HarnessLimit, "{words}");
        }
    }

    #[test]
    fn what_a_guest_says_or_uses_up_itself_stays_its_own() {
        let words = "No space left on device (os error 28)";
        for kind in [FaultKind::GuestThrow, FaultKind::BadAnswer, FaultKind::WrongAnswer, FaultKind::DeadlineExceeded] {
            assert_eq!(Fault::new(kind, words).kind, kind);
        }
        let at_its_limit = Fault::new(FaultKind::OutOfMemory, "Cannot allocate memory (os error 12)");
        assert_eq!(at_its_limit.kind, FaultKind::OutOfMemory);
    }

    #[test]
    fn a_limit_is_named_once() {
        let fault = Fault::backend("spawn: Too many open files (os error 24)").context("native/echo");
        assert_eq!(Fault::new(fault.kind, fault.message.clone()), fault);
    }
}
