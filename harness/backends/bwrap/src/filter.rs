//! The filter of system calls: a list of what the agents and their engines need, and "not permitted" for the rest.

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, PoisonError};

/// What the agents call on every processor, and what their C library, allocator and runtimes may call to the same ends:
/// a trace of all three through every experiment has no refused call in it but `clone3`.
const ALLOWED: [libc::c_long; 89] = [
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    // The channel, and what files there are.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_ftruncate,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    // Threads and time.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_getcpu,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    libc::SYS_getrusage,
    // Itself, its end and its signals. bwrap's own process 1 has the filter too, and waits.
    libc::SYS_execve,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Older names of the same things, which only this processor has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: [libc::c_long; 12] = [
    libc::SYS_arch_prctl,
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: [libc::c_long; 0] = [];

/// The flags of `clone` that make namespaces: threads and processes may be made, namespaces may not.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The filter as bwrap reads it, once for each sandbox.
pub(crate) struct Filter {
    program: File,
    /// Held while a descriptor is open that a program started meanwhile would inherit.
    lending: Mutex<()>,
}

impl Filter {
    /// Compiles it.
    pub(crate) fn new() -> io::Result<Filter> {
        let program = compile().map_err(io::Error::other)?;
        let mut file = File::from(memfd_create("seccomp", MemfdFlags::CLOEXEC)?);
        for sock_filter { code, jt, jf, k } in program {
            file.write_all(&code.to_ne_bytes())?;
            file.write_all(&[jt, jf])?;
            file.write_all(&k.to_ne_bytes())?;
        }
        Ok(Filter { program: file, lending: Mutex::new(()) })
    }

    /// Has `spawn` start a program that inherits the filter under the number it is told.
    pub(crate) fn lend<T>(&self, spawn: impl FnOnce(RawFd) -> T) -> io::Result<T> {
        let _alone = self.lending.lock().unwrap_or_else(PoisonError::into_inner);
        // Opened anew, for a reader moves the position that duplicates share; and without CLOEXEC, since `posix_spawn`
        // hands down nothing else but the three streams.
        let path = format!("/proc/self/fd/{}", self.program.as_raw_fd());
        let lent = open(path, OFlags::RDONLY, Mode::empty())?;
        Ok(spawn(lent.as_raw_fd()))
    }
}

fn compile() -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let no_namespace = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(NAMESPACES as u64), 0)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.into_iter().chain(ALLOWED_HERE).map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![no_namespace])?]);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let list: BpfProgram = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?.try_into()?;
    Ok(without_clone3().into_iter().chain(list).collect())
}

/// Before the list: `clone3` is said not to exist, since its flags lie where no filter can read them. The C library
/// then takes `clone`, as it does under Docker's filter; "not permitted" would end its patience.
fn without_clone3() -> [sock_filter; 3] {
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_clone3 as u32),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::{BorrowedFd, OwnedFd};

    #[test]
    fn every_borrower_reads_the_whole_filter() {
        let filter = Filter::new().unwrap();
        let read = |number| {
            // SAFETY: open as long as it is lent.
            let lent: OwnedFd = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned().unwrap();
            let mut bytes = Vec::new();
            File::from(lent).read_to_end(&mut bytes).unwrap();
            bytes
        };
        let (first, second) = (filter.lend(read).unwrap(), filter.lend(read).unwrap());
        assert_eq!(first, second);
        assert!(first.len() > 8 * ALLOWED.len() && first.len().is_multiple_of(8), "{}", first.len());
    }
}
