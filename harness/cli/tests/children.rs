//! Whatever a run starts ends with it: builds of guests, and what guests start and hide.

mod common;

use common::{Checkout, end_of, manifest, wait_for};
use std::fs;
use std::process::Child;

/// A workload whose build takes longer than any test waits: its build script sleeps that many seconds. The number tells
/// the process from all others.
fn slow_build(checkout: &Checkout, name: &str, seconds: u32) {
    let script =
        format!("fn main() {{ std::process::Command::new(\"/bin/sleep\").arg(\"{seconds}\").status().unwrap(); }}");
    let cargo = manifest(name);
    let files = [("rust/Cargo.toml", cargo.as_str()), ("rust/src/main.rs", "fn main() {}"), ("rust/build.rs", &script)];
    checkout.fixture(name, "", &files);
}

fn sleeps(seconds: u32) -> bool {
    let wanted = format!("/bin/sleep\0{seconds}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|p| fs::read(p.path().join("cmdline")).ok()).any(|line| line == wanted.as_bytes())
}

/// A run that is building the guest of `name`.
fn building(checkout: &Checkout, name: &str, seconds: u32) -> Child {
    let mut child = checkout.spawn(&["run", "--quick", "--only", &format!("process/spawn/native/{name}/")]);
    wait_for("the build to sleep", || sleeps(seconds) || child.try_wait().unwrap().is_some());
    assert!(sleeps(seconds), "{:?}", end_of(child));
    child
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: a signal to a child that has not been waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
}

#[test]
fn a_signal_ends_a_run_that_is_building_a_guest() {
    for (sent, seconds) in [(libc::SIGINT, 7_001_001), (libc::SIGTERM, 7_001_002)] {
        let checkout = Checkout::real();
        slow_build(&checkout, "slow", seconds);
        let child = building(&checkout, "slow", seconds);
        signal(&child, sent);
        end_of(child).expect(130);
        assert!(!sleeps(seconds), "the build goes on after signal {sent}");
        checkout.assert_nothing_left();
    }
}

#[test]
fn a_build_ends_with_a_run_that_is_killed() {
    let checkout = Checkout::real();
    let seconds = 7_001_003;
    slow_build(&checkout, "slow", seconds);
    let child = building(&checkout, "slow", seconds);
    signal(&child, libc::SIGKILL);
    end_of(child);
    wait_for("the end of the build", || !sleeps(seconds));
    checkout.run(&["clean"]).expect(0);
    checkout.assert_nothing_left();
}

/// A guest whose every call leaves a process that has another parent, session and environment.
fn orphans(checkout: &Checkout, name: &str, seconds: u32) {
    let source = format!(
        "use std::process::{{Command, Stdio}};
         fn handle(request: &[u8]) -> Vec<u8> {{
             let mut shell = Command::new(\"/bin/sh\");
             shell.args([\"-c\", \"setsid env -i /bin/sh -c '/bin/sleep {seconds} & exit' &\"]);
             let _ = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
             request.to_vec()
         }}
         isobench_guest::handler!(handle);"
    );
    checkout.native(name, "", &source);
}

#[test]
fn a_process_that_a_guest_hides_ends_with_its_block() {
    let checkout = Checkout::real();
    let seconds = 7_001_004;
    orphans(&checkout, "orphans", seconds);
    checkout.run(&["check", "orphans"]).says("✓ process/spawn/native/orphans/small");
    assert!(!sleeps(seconds), "the guest's process outlives the run");
    checkout.assert_nothing_left();
}

#[test]
fn clean_finds_a_process_that_a_guest_hides_after_everything_was_killed() {
    let checkout = Checkout::real();
    let seconds = 7_001_005;
    orphans(&checkout, "orphans", seconds);
    checkout.run(&["check", "orphans"]);
    let child = checkout.spawn(&["run", "--quick", "--only", "process/spawn/native/orphans/", "--budget", "10m"]);
    wait_for("a hidden process", || sleeps(seconds));
    signal(&child, libc::SIGKILL);
    end_of(child);
    checkout.run(&["clean"]).expect(0);
    assert!(!sleeps(seconds), "`isobench clean` did not find it");
    checkout.assert_nothing_left();
}

/// Two packages of one name share no program, whoever was built last.
#[test]
fn workloads_whose_packages_share_a_name_run_their_own_programs() {
    let checkout = Checkout::real();
    let right = "fn handle(request: &[u8]) -> Vec<u8> { request.to_vec() }\nisobench_guest::handler!(handle);";
    let wrong = "fn handle(_: &[u8]) -> Vec<u8> { b\"WRONG\".to_vec() }\nisobench_guest::handler!(handle);";
    let named = format!("{}\n[[bin]]\nname = \"zzz\"\npath = \"src/main.rs\"\n", manifest("shared"));
    for (name, source, cargo) in [("one", right, &manifest("shared")), ("two", wrong, &named)] {
        let files =
            [("rust/Cargo.toml", cargo.as_str()), ("rust/src/main.rs", source), ("guest.wat", common::ECHO_WAT)];
        checkout.fixture(name, "", &files);
    }
    for _ in 0..2 {
        checkout.run(&["check", "one"]).says("✓ process/spawn/native/one/small");
        checkout.run(&["check", "two"]).says("✗ process/spawn/native/two/small: wrong_answer");
    }
}

#[test]
fn a_guest_that_does_not_build_is_shown_with_the_words_of_its_compiler() {
    let checkout = Checkout::real();
    let cargo = manifest("bad");
    checkout.fixture("bad", "", &[("rust/Cargo.toml", cargo.as_str()), ("rust/src/main.rs", "fn main() { nonsense }")]);
    checkout.fixture("bad-wat", "", &[("guest.wat", "(module (nonsense))")]);
    let ran = checkout.run(&["check", "bad"]);
    ran.expect(3).says("the native guest of bad cannot be built").says("cannot find value `nonsense`");
    assert!(ran.stdout.contains("0 passed, 2 failed"), "the native and the Wasm guest: {ran:?}");
    checkout.run(&["check", "bad-wat"]).expect(3).says("the wasm guest of bad-wat cannot be built").says("guest.wat");
}

#[test]
fn check_counts_what_passed_and_what_failed() {
    let checkout = Checkout::real();
    checkout.copy_workload("echo");
    checkout.fixture(
        "mixed",
        "",
        &[("guest.wat", common::ECHO_WAT), ("guest.js", "export function handle() { throw 1 }")],
    );
    let ran = checkout.run(&["check", "mixed"]);
    let count = |mark: &str| ran.stdout.lines().filter(|line| line.starts_with(mark)).count();
    let (passed, failed) = (count("✓ "), count("✗ "));
    assert!(passed > 0 && failed > 0, "{ran:?}");
    ran.expect(3).says(&format!("{passed} passed, {failed} failed"));
}

#[test]
fn only_guests_that_are_asked_for_are_built_and_a_built_one_needs_no_compiler() {
    let checkout = Checkout::real();
    slow_build(&checkout, "slow", 7_001_006);
    checkout.native("fine", "", "fn handle(r: &[u8]) -> Vec<u8> { r.to_vec() }\nisobench_guest::handler!(handle);");
    let ran = checkout.run(&["check", "fine"]);
    ran.says("✓ process/spawn/native/fine/small");
    assert!(!ran.stderr.contains("guest of slow"), "{ran:?}");
    let mut without = checkout.command(&["check", "fine"]);
    let ran = common::Ran::new(without.env("PATH", checkout.path("tmp")).output().unwrap());
    ran.says("✓ process/spawn/native/fine/small");
}
