//! Tells the program which commit it is built from, for `run.json`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=ISOBENCH_COMMIT={}", commit().unwrap_or_else(|| "unknown".into()));
}

/// The commit, with `-dirty` if the harness has changes that are not committed. `None` outside isobench's repository.
fn commit() -> Option<String> {
    // A copy of the sources inside another repository has no commit of its own.
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    // The log of HEAD grows with every commit and checkout. The folder is that of all crates of the harness.
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    println!("cargo::rerun-if-changed=..");
    let dirty = git(&["status", "--porcelain", "--untracked-files=no", "--", ".."])?;
    Some(git(&["rev-parse", "HEAD"])? + if dirty.is_empty() { "" } else { "-dirty" })
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}
