//! What makes a deployed function cold: a command of the user's, a wait without a request, or both.

use crate::targets::{Cold, WORKLOAD};
use isobench_core::{Fault, FaultKind};
use isobench_runner::{Deadline, agents};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What stands in a command for the target's name.
const TARGET: &str = "{target}";
/// What stands in a command for a text that no other start has: a setting that changes makes platforms start anew.
const NONCE: &str = "{nonce}";

/// Does it.
///
/// # Errors
/// The fault of a command that cannot be started or fails, with the last that it said, or is not done in time.
pub(crate) fn make_cold(cold: &Cold, target: &str, workload: &str) -> Result<(), Fault> {
    if let Some(mut command) = command(cold, target, workload, &nonce()) {
        let deadline = Deadline::after(Duration::from_secs(cold.deadline_s));
        agents::run_to_end(&mut command, deadline.allowed()).map_err(|why| {
            let kind = if deadline.passed() { FaultKind::DeadlineExceeded } else { FaultKind::BackendFailed };
            Fault::new(kind, format!("making {target} cold: {why}"))
        })?;
    }
    std::thread::sleep(Duration::from_secs(cold.idle_s));
    Ok(())
}

/// What is to be run, with its words filled in. Other braces stay: JSON has them.
fn command(cold: &Cold, target: &str, workload: &str, nonce: &str) -> Option<Command> {
    let fill = |word: &String| word.replace(WORKLOAD, workload).replace(TARGET, target).replace(NONCE, nonce);
    let words = match (&cold.shell, &cold.command[..]) {
        (Some(line), _) => vec!["sh".into(), "-c".into(), fill(line)],
        (None, words) => words.iter().map(fill).collect(),
    };
    let (program, args) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(args);
    Some(command)
}

fn nonce() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("{now}-{}", MADE.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cold(command: &[&str], shell: Option<&str>) -> Cold {
        let command = command.iter().map(ToString::to_string).collect();
        Cold { command, shell: shell.map(Into::into), deadline_s: 30, idle_s: 0 }
    }

    #[test]
    fn words_are_filled_in_and_no_shell_sees_them() {
        let plain = cold(&["deploy", "--name={target}-{workload}", "{\"N\":\"{nonce}\"}", "$HOME;"], None);
        let command = command(&plain, "t", "echo", "7").expect("a command");
        assert_eq!(command.get_program(), "deploy");
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args, ["--name=t-echo", "{\"N\":\"7\"}", "$HOME;"]);
        assert_ne!(nonce(), nonce());
    }

    #[test]
    fn a_command_that_fails_says_why_and_one_that_hangs_is_ended() {
        assert!(make_cold(&cold(&["true"], None), "t", "echo").is_ok());
        let failed = make_cold(&cold(&[], Some("echo no such {target} >&2; exit 3")), "t", "echo");
        assert!(failed.expect_err("a fault").message.contains("no such t"));
        let missing = make_cold(&cold(&["/nowhere/deploy"], None), "t", "echo");
        assert!(missing.expect_err("a fault").message.contains("/nowhere/deploy"));
        let hanging = Cold { deadline_s: 0, ..cold(&["sleep", "1000"], None) };
        assert_eq!(make_cold(&hanging, "t", "echo").expect_err("a fault").kind, FaultKind::DeadlineExceeded);
    }
}
