//! The script: what an instance does instead of running a guest.

use isobench_core::{Fault, FaultKind, seed_of};
use isobench_runner::Deadline;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Makes every act of every script slower by that many parts per million: a difference planted under one configuration
/// of an A/B run, to see that it is found.
const SLOWER: &str = "ISOBENCH_NULL_SLOWER_PPM";

/// How much of an artifact is read as a script.
const SCRIPT_LIMIT: u64 = 64 << 10;

/// An hour: longer than any deadline.
pub(crate) const FOR_EVER_US: u64 = 3_600_000_000;

/// What an instance does. An empty script answers every request with the request, at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// How long `start` takes, in microseconds.
    pub start_us: u64,
    /// How long each call takes, in microseconds.
    pub call_us: u64,
    /// How long `stop` takes, in microseconds.
    pub stop_us: u64,
    /// The acts take their time by spinning: exact to a microsecond where nobody else wants the processor. Else they
    /// sleep, which the kernel's timers lengthen.
    pub spin: bool,
    /// Standard deviation of a factor on all times, parts per million, drawn once a block: what a block's layout and
    /// minute do to a real backend.
    pub block_noise_ppm: u32,
    /// Memory that each instance keeps resident, in KiB.
    pub memory_kib: usize,
    /// How many instances there is room for at once; the start of one more fails. 0 for any number.
    pub room: usize,
    /// Leaves a process behind at every start: in a session of its own, and child of nobody.
    pub grandchild: bool,
    /// What it does wrong.
    pub fault: Option<Misdeed>,
    /// How many calls of an instance go well before a misdeed that belongs to a call.
    pub after_calls: u32,
    /// How many starts of a block go well, to their end, before instances commit the misdeed.
    pub after_starts: u32,
}

/// What a script can do wrong. Those that belong to no other act happen in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misdeed {
    /// `deploy` never returns.
    HangDeploy,
    /// `start` never returns, whatever its deadline.
    HangStart,
    /// A call never returns, whatever its deadline.
    HangCall,
    /// `stop` never returns, whatever its deadline.
    HangStop,
    /// A call takes until its deadline, and says so.
    Stall,
    /// The process dies of SIGSEGV.
    Crash,
    /// The process dies of SIGABRT.
    Abort,
    /// The process dies as Rust's allocator makes it die: a line on the standard error and SIGABRT.
    OutOfMemory,
    /// The process exits with code 0 in the middle of its work.
    Exit,
    /// The call ends in a `guest_throw`.
    Throw,
    /// The answer is not the request.
    WrongAnswer,
    /// Text on the standard output, which does no harm: it is not the protocol's stream. The answer is right.
    GarbageStdout,
    /// Text in the protocol's own stream, by a guest that went looking for it.
    GarbageProtocol,
}

impl Script {
    /// Reads a script; what is wrong with it makes the guest invalid.
    pub fn read(path: &Path) -> Result<Script, Fault> {
        let invalid = |message: String| {
            let help = "a script for the null backend is TOML: see harness/backends/null/README.md";
            Fault::new(FaultKind::InvalidGuest, format!("{}: {message}; {help}", path.display()))
        };
        let mut text = String::new();
        let file = fs::File::open(path).map_err(|e| invalid(e.to_string()))?;
        file.take(SCRIPT_LIMIT).read_to_string(&mut text).map_err(|e| invalid(e.to_string()))?;
        toml::from_str(&text).map_err(|e| invalid(e.to_string().trim().replace('\n', " ")))
    }
}

/// How the acts of one block take their time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    spin: bool,
    factor: f64,
}

impl Pace {
    /// The pace of the block whose state folder is `state`: the folder's name is the seed of its noise.
    pub fn of_block(script: &Script, state: &Path) -> Pace {
        let mut rng = ChaCha8Rng::seed_from_u64(seed_of(state.as_os_str().as_encoded_bytes()));
        // The sum of twelve uniforms less six is close to a standard normal.
        let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let slower = std::env::var(SLOWER).ok().and_then(|ppm| ppm.parse::<f64>().ok()).unwrap_or(0.0);
        let factor = (1.0 + normal * f64::from(script.block_noise_ppm) / 1e6) * (1.0 + slower / 1e6);
        Pace { spin: script.spin, factor }
    }

    /// Takes `us` microseconds, or the time until the deadline: a slow guest that keeps the rules.
    pub fn take(self, us: u64, deadline: Deadline, what: &str) -> Result<(), Fault> {
        let wanted = Duration::from_micros(us).mul_f64(self.factor.max(0.0));
        if wanted > deadline.remaining() {
            std::thread::sleep(deadline.remaining());
            return Err(deadline.fault(what));
        }
        if self.spin {
            let begun = Instant::now();
            while begun.elapsed() < wanted {
                std::hint::spin_loop();
            }
        } else if us > 0 {
            std::thread::sleep(wanted);
        }
        Ok(())
    }
}

/// Never returns.
pub(crate) fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

/// Dies of a signal that nobody catches (Rust's own handler for stack overflows would return from a raised SIGSEGV).
pub(crate) fn die_of(signal: i32) -> ! {
    // SAFETY: plain calls without memory.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
        libc::_exit(1)
    }
}

/// Forks a process that pauses for ever and is the child of nobody here, in a session of its own. It keeps the
/// standard streams, as a daemon does that forgot to close them, and the environment, and so the cookie.
pub(crate) fn leave_grandchild() -> Result<(), Fault> {
    // SAFETY: the child calls nothing but async-signal-safe functions; the parent waits for it.
    unsafe {
        match libc::fork() {
            -1 => Err(Fault::backend(format!("fork: {}", std::io::Error::last_os_error()))),
            0 => {
                libc::setsid();
                if libc::fork() != 0 {
                    libc::_exit(0);
                }
                libc::signal(libc::SIGTERM, libc::SIG_IGN);
                libc::close_range(3, libc::c_uint::MAX, 0);
                loop {
                    libc::pause();
                }
            }
            child => {
                libc::waitpid(child, std::ptr::null_mut(), 0);
                Ok(())
            }
        }
    }
}

/// Writes into the first pipe above the standard streams: where the runner keeps the protocol's stream.
pub(crate) fn garble_protocol() {
    let pipes = (3..64).filter(|fd| {
        let link = fs::read_link(format!("/proc/self/fd/{fd}"));
        link.is_ok_and(|target| target.to_string_lossy().starts_with("pipe:"))
    });
    for fd in pipes.take(1) {
        let path = format!("/proc/self/fd/{fd}");
        if let Ok(mut pipe) = fs::OpenOptions::new().write(true).open(path) {
            let _ = pipe.write_all(b"{\"record\": nonsense\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn scripts_are_read_strictly() {
        assert_eq!(parse(""), Ok(Script::default()));
        let script = parse("call_us = 5\nfault = \"hang_call\"\nafter_calls = 3").unwrap();
        assert_eq!((script.call_us, script.fault, script.after_calls), (5, Some(Misdeed::HangCall), 3));
        assert!(parse("fault = \"sulk\"").unwrap_err().to_string().contains("unknown variant"));
        assert!(parse("cal_us = 5").unwrap_err().to_string().contains("unknown field"));
    }
}
