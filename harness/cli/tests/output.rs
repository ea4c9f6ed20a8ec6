//! Odd arguments and outputs: nothing panics, a run writes its report whatever becomes of its standard output.

mod common;

use common::{Checkout, Ran};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

const RUN: [&str; 7] = ["run", "--quick", "--only", "null/", "--seed", "7", "--rounds=1"];

/// Runs `args` with a pipe as standard output that is closed after `bytes` bytes.
fn closed_after(checkout: &Checkout, args: &[&str], bytes: usize) -> Ran {
    let mut child = checkout.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut seen = vec![0; bytes];
    let mut pipe = child.stdout.take().unwrap();
    pipe.read_exact(&mut seen).unwrap();
    drop(pipe);
    common::end_of(child)
}

#[test]
fn a_closed_pipe_ends_the_output_and_not_the_command() {
    let checkout = Checkout::new();
    checkout.script("echo", "");
    for args in [&["list"][..], &["list", "--cells"], &["clean"], &["schema", "run"]] {
        closed_after(&checkout, args, 0).expect(0);
    }
    closed_after(&checkout, &RUN, 1).expect(0);
    assert!(checkout.page().contains("null/scripted"), "a run whose output is closed writes its report");
    assert!(checkout.read_run().0.ended_unix_ms.is_some());
    checkout.assert_nothing_left();
}

#[test]
fn a_full_standard_output_fails_the_command_after_its_work_is_done() {
    let checkout = Checkout::new();
    checkout.script("echo", "");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for args in [&["list"][..], &["clean"], &RUN] {
        let output = checkout.command(args).stdout(full()).output().unwrap();
        Ran::new(output).expect(1).says("standard output: No space left on device");
    }
    assert!(checkout.page().contains("null/scripted"));
    // With standard error full too there is no place for the reason; the exit code remains.
    let output = checkout.command(&["list"]).stdout(full()).stderr(full()).output().unwrap();
    Ran::new(output).expect(1);
    checkout.assert_nothing_left();
}

#[test]
fn an_argument_need_not_be_utf_8() {
    let checkout = Checkout::new();
    checkout.script("echo", "");
    let name = OsStr::from_bytes(b"caf\xe9");
    let out = checkout.dir.path().join(name);
    let output = checkout.command(&RUN).arg("--out").arg(&out).output().unwrap();
    Ran::new(output).expect(0);
    let run = std::fs::read_dir(out.join("results")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(run.join("run.json")).unwrap();
    assert!(text.contains("caf\u{fffd}"), "the command line is recorded as far as JSON can write it");
    for args in [&["run", "--only"][..], &["check"], &["export", "lambda"], &["report"], &["compare"], &[]] {
        let ran = Ran::new(checkout.command(args).arg(name).output().unwrap());
        assert!(matches!(ran.code, Some(1 | 2)), "{args:?}: {:?}\n{}", ran.code, ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}
