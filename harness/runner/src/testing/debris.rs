//! What is left of containers without a daemon when something is killed, hangs or has no room: nothing, at the latest
//! after the next block or a clean. What is counted is the whole machine's, so one test does all of it.

use super::{Outcome, TestBed, assert_nothing_left, one_start, skip, suite};
use crate::backend::Cleaned;
use crate::place::installed;
use crate::protocol::{BlockRequest, CleanRequest};
use crate::{cgroup, owner};
use isobench_core::{FaultKind, Guest};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Nothing here takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The containers of one variant, and the program that makes them.
#[derive(Debug)]
pub struct Debris {
    /// Where the tests run.
    pub bed: TestBed,
    /// The variant.
    pub variant: &'static str,
    /// What the backend's cgroups are called, before their owner's tag.
    pub cgroup: &'static str,
    /// The program, which the runner finds in PATH.
    pub runtime: &'static str,
    /// A shell's pattern for those of its command lines that start a container.
    pub start: &'static str,
    /// What a start may be called whose program was killed, and what one whose program hangs.
    pub faults: (&'static [FaultKind], FaultKind),
}

impl Debris {
    /// A block of one start.
    pub fn echo(&self) -> BlockRequest {
        let echo = self.bed.artifact("workloads/echo", Guest::Native);
        self.bed.request(self.variant, Guest::Native, &echo, b"hello", b"hello", one_start())
    }

    /// No cgroup of ours whose owner is gone, with what may be in it; no mount of a container out here.
    pub fn nothing_left(&self) {
        let left = cgroup::owners(self.cgroup).into_iter().find(|tag| owner::is_gone(tag));
        assert_eq!(left, None, "cgroups of a process that is gone");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let left = mounts.lines().find(|line| line.contains("/agent") || line.contains("/b0/"));
        assert_eq!(left, None, "mounts");
    }

    /// A runner that is killed, where `processes` is how many there are with it and one instance. Its processes went by
    /// their cookie; a cgroup is found by the tag of its owner.
    pub fn a_killed_runner(&self, processes: usize) {
        suite::a_killed_runner(&self.bed, self.variant, processes);
        self.clean();
        self.nothing_left();
        assert_eq!(self.clean().removed, Vec::<String>::new(), "there is nothing left to clean");
    }

    fn clean(&self) -> Cleaned {
        self.bed.runner.clean(&CleanRequest { ctx: self.bed.context(), dead: Vec::new() }).expect("a clean")
    }

    /// A container of a run that was killed: a process in a cgroup with a dead owner's tag and the name that a first
    /// container has. The next block takes it down, and is not disturbed by it.
    pub fn leftovers_of_a_runner_that_is_gone(&self) {
        let mut left = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep");
        let name = format!("{}{}/0", self.cgroup, owner::tag(std::process::id(), 1));
        // A folder with the memory figure exists where the machine has such a controller.
        let folder = |mount: &str| Path::new(mount).join(&name);
        let mounts = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let mount = mounts.into_iter().find(|mount| fs::create_dir_all(folder(mount)).is_ok()).expect("cgroups");
        fs::write(folder(mount).join("cgroup.procs"), left.id().to_string()).expect("moved there");
        assert_eq!(cgroup::members(&name).len(), 1);
        self.bed.run(&self.echo()).expect_ok();
        assert!(!left.wait().expect("it was killed").success());
        self.nothing_left();
    }

    /// A state folder that is full when what a start needs is to be written: with room for so many pages, and no more.
    pub fn no_space(&self, pages: Range<u32>) {
        for pages in pages {
            let request = self.echo();
            let Some(full) = Full::mount(&request.ctx.state, pages) else { return };
            let outcome = Outcome(self.bed.runner.block(&request, PATIENCE));
            let message = &outcome.expect_fault(FaultKind::DiskFull).message;
            assert!(message.to_lowercase().contains("no space left"), "{pages} pages: {message}");
            drop(full);
            assert_nothing_left(&request.ctx);
            self.nothing_left();
        }
    }

    /// A program that is killed in each stretch of its work, and one that hangs. Then all is well again.
    pub fn a_killed_runtime(&mut self) {
        for delay in ["0", "0.01", "0.02", "0.04", "0.08", "0.16"] {
            let kill = format!("REAL \"$@\" & sleep {delay}; kill -9 $!; wait $!; exit");
            self.with_start(&kill, |this| {
                // A late kill may be too late, and then all is well.
                let outcome = this.bed.run(&this.echo());
                assert!(outcome.fault().is_none_or(|f| this.faults.0.contains(&f.kind)), "{delay}: {outcome:?}");
            });
        }
        self.with_start("exec sleep 600", |this| {
            let mut request = this.echo();
            request.target.limits.start_deadline_ms = 300;
            this.bed.run(&request).expect_fault(this.faults.1);
        });
        self.with_start("", |this| drop(this.bed.run(&this.echo()).expect_ok()));
    }

    fn with_start(&mut self, instead: &str, test: impl Fn(&Debris)) {
        let script = format!("case \" $* \" in {}) {instead};; esac; exec REAL \"$@\"", self.start);
        self.with_runtime(&script, test);
    }

    /// What `test` says where a shell script takes the program's place, in which `REAL` is the program itself.
    pub fn with_runtime(&mut self, script: &str, test: impl Fn(&Debris)) {
        let path = std::env::var("PATH").unwrap_or_default();
        let real = installed(self.runtime).expect("the bed is available");
        let script = format!("#!/bin/sh\n{}", script.replace("REAL", &real.to_string_lossy()));
        let fake = self.bed.write(self.runtime, script);
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("an executable script");
        let folder = fake.parent().expect("the bed's folder").display();
        self.bed.runner.env.insert("PATH".into(), format!("{folder}:{path}"));
        test(self);
        self.bed.runner.env.remove("PATH");
        self.nothing_left();
    }
}

/// A file system in memory with room for some pages.
struct Full(PathBuf);

impl Full {
    fn mount(at: &Path, pages: u32) -> Option<Full> {
        fs::create_dir_all(at).expect("a folder");
        // No pages at all would mean no limit.
        let size = format!("size={},nr_inodes=64", 4096 * (pages + 1));
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        if !mounted.is_ok_and(|out| out.status.success()) {
            skip("mounting a tmpfs needs root");
            return None;
        }
        let full = Full(at.into());
        // One page is somebody else's.
        fs::write(at.join("ballast"), [0; 4096]).expect("room for it");
        Some(full)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        // This test has made the folder and mounted on it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
