//! isobench uses, reads and removes only folders that it made itself.

mod common;

use common::{Checkout, Ran};
use isobench_runner::testing::skip;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ECHO: &str = "call_us = 100";
const CLEAN: &[&str] = &["clean"];
const RUN: &[&str] = &["run", "--quick", "--only", "null/", "--budget", "1s"];

/// A folder of a person's, with a file two levels down.
fn precious(checkout: &Checkout) -> PathBuf {
    let folder = checkout.path("precious");
    fs::create_dir_all(folder.join("docs")).unwrap();
    fs::write(folder.join("docs/thesis"), "ten years of work").unwrap();
    folder
}

#[track_caller]
fn assert_untouched(folder: &Path) {
    assert_eq!(fs::read_to_string(folder.join("docs/thesis")).unwrap(), "ten years of work");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "nothing was added");
}

fn with(checkout: &Checkout, variable: &str, value: &Path, args: &[&str]) -> Ran {
    Ran::new(checkout.command(args).env(variable, value).output().unwrap())
}

#[track_caller]
fn assert_refused(ran: &Ran, why: &str, variable: &str) {
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains(why) && ran.stderr.contains(&format!("set {variable}")), "{ran:?}");
}

#[test]
fn a_folder_that_isobench_did_not_make_is_neither_state_nor_cache() {
    let checkout = Checkout::new();
    checkout.script("echo", ECHO);
    let folder = precious(&checkout);
    for variable in ["ISOBENCH_STATE", "ISOBENCH_CACHE"] {
        for args in [CLEAN, RUN, &["clean", "--cache"]] {
            assert_refused(&with(&checkout, variable, &folder, args), "is not empty", variable);
            assert_untouched(&folder);
        }
    }
}

#[test]
fn a_symlink_to_a_folder_is_neither_state_nor_cache() {
    let checkout = Checkout::new();
    let folder = precious(&checkout);
    let link = checkout.path("link");
    symlink(&folder, &link).unwrap();
    for variable in ["ISOBENCH_STATE", "ISOBENCH_CACHE"] {
        assert_refused(&with(&checkout, variable, &link, CLEAN), "is a symbolic link", variable);
        assert_untouched(&folder);
    }
}

#[test]
fn a_state_folder_of_another_user_or_open_to_others_is_refused() {
    let checkout = Checkout::new();
    checkout.script("echo", ECHO);
    let state = checkout.path("state");
    assert!(checkout.run(CLEAN).code == Some(0), "it is made");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    for args in [CLEAN, RUN] {
        assert_refused(&checkout.run(args), "has mode 0777", "ISOBENCH_STATE");
    }
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    if chown(&state, Some(65_534), Some(65_534)).is_err() {
        return skip("giving a folder to another user needs root");
    }
    assert_refused(&checkout.run(CLEAN), "belongs to user 65534", "ISOBENCH_STATE");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let checkout = Checkout::new();
    let home = checkout.path("home");
    fs::create_dir(&home).unwrap();
    let inside = checkout.path("inside");
    fs::create_dir_all(inside.join("workloads")).unwrap();
    let mut command = checkout.command(CLEAN);
    command.current_dir(&inside).env("HOME", &home);
    for variable in ["ISOBENCH_CACHE", "XDG_CACHE_HOME", "ISOBENCH_PROGRAMS"] {
        command.env(variable, "");
    }
    let ran = Ran::new(command.output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(fs::read_dir(&inside).unwrap().count(), 1, "nothing appears in the current folder");
    assert!(home.join(".cache/isobench/CACHEDIR.TAG").is_file());
}

#[test]
fn clean_removes_a_cache_of_its_own_only() {
    let checkout = Checkout::new();
    checkout.script("echo", ECHO);
    assert_eq!(checkout.run(CLEAN).code, Some(0));
    assert!(checkout.path("cache/CACHEDIR.TAG").is_file());
    assert_eq!(checkout.run(&["clean", "--cache"]).code, Some(0));
    assert!(!checkout.path("cache").exists());
}

#[test]
fn clean_lists_what_it_leaves_alone() {
    let checkout = Checkout::new();
    assert_eq!(checkout.run(CLEAN).code, Some(0));
    fs::create_dir(checkout.path("state/thesis")).unwrap();
    let ran = checkout.run(CLEAN);
    assert!(ran.stdout.contains("left alone") && ran.stdout.contains("state/thesis"), "{ran:?}");
    assert!(checkout.path("state/thesis").is_dir());
}

/// Two CI jobs in containers of their own often share a folder: neither sees the other's processes.
#[test]
fn clean_in_another_pid_namespace_leaves_a_live_run_alone_and_lists_it() {
    let checkout = Checkout::new();
    checkout.script("echo", ECHO);
    let mut run = checkout.spawn(&["run", "--quick", "--only", "null/", "--budget", "10m"]);
    let is_run = |path: &PathBuf| path.join("coordinator").is_file() && !path.display().to_string().contains("clean-");
    let mut folder = None;
    common::wait_for("the run's state folder", || {
        let runs = fs::read_dir(checkout.path("state")).into_iter().flatten().flatten();
        folder = runs.map(|e| e.path()).find(is_run);
        folder.is_some()
    });
    let folder = folder.expect("just found");
    let inside = in_pid_namespace(&checkout.command(CLEAN));
    let lives = folder.is_dir();
    // SAFETY: a signal to the child that this test has started and not waited for.
    unsafe { libc::kill(run.id() as i32, libc::SIGINT) };
    run.wait().unwrap();
    let inside = match inside {
        Some(output) => Ran::new(output),
        None => return skip("a PID namespace needs root and `unshare`"),
    };
    assert!(lives, "{inside:?}");
    assert!(inside.stdout.contains("left alone"), "{inside:?}");
    assert!(inside.stdout.contains("another PID namespace"), "{inside:?}");
}

/// Runs the same command in a PID namespace of its own; `None` where none can be made.
fn in_pid_namespace(command: &Command) -> Option<Output> {
    let mut inside = Command::new("unshare");
    inside.args(["--pid", "--fork", "--mount-proc", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        inside.env(name, value?);
    }
    inside.current_dir(command.get_current_dir()?);
    let output = inside.output().ok()?;
    (!String::from_utf8_lossy(&output.stderr).contains("unshare:")).then_some(output)
}
