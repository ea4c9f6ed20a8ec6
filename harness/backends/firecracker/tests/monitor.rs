//! The tests of a backend whose monitor is asked over HTTP and dials Unix sockets where its guest dials a vsock: against
//! one that is none, whose guests are the real agents as processes, and against the real one where there is one and KVM
//! boots its guests. Each such backend takes this file in.

use isobench_core::record::Mode;
use isobench_core::{Availability, Experiment, FaultKind, Guest};
use isobench_qemu::kernel::KERNEL_VARIABLE;
use isobench_runner::protocol::{BlockRequest, CleanRequest, Series, Visit};
use isobench_runner::testing::{Outcome, TestBed, one_start, skip, suite};
use isobench_runner::{Deadline, machine, reap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use FaultKind::{BackendFailed, BadFrame, ChannelClosed, DeadlineExceeded, FrameTooLarge};
use FaultKind::{GuestTrap, NoHello, OutOfMemory, WrongAnswer};

/// What the fake takes for a kernel.
pub const KERNEL: &[u8] = b"\x7fELF....Linux version 6.1.0-fake (nobody)";

/// Names a fault to the fake.
pub const FAULT_VARIABLE: &str = "ISOBENCH_FAKE_FAULT";

/// A backend under test.
pub struct Tested {
    /// What messages call its monitor.
    pub name: &'static str,
    /// The backend's runner, and who is in the monitor's place.
    pub runner: &'static str,
    pub fake: &'static str,
    /// Names the program to use.
    pub variable: &'static str,
    /// How many variants there are.
    pub variants: usize,
    /// The processes of the real one and of the fake: how their names begin, of which the kernel keeps 15 bytes.
    pub processes: [&'static str; 2],
    /// The request that saves a machine.
    pub save: &'static str,
    /// A saved machine's files: everything but its memory, and that; and what is said where half of the first is gone.
    pub saved: [&'static str; 2],
    pub damaged: &'static str,
    /// Where a person is sent who has no such program.
    pub releases: &'static str,
    /// The request at which the fake refuses to run a machine.
    pub start: &'static str,
    /// What else a bed needs: of the fake, of the real one.
    pub with_fake: fn(&mut TestBed),
    pub with_real: fn(&mut TestBed),
}

impl Tested {
    /// A bed with the fake; `None` where it lacks what only `make build` builds, or time.
    pub fn fake_bed(&self) -> Option<TestBed> {
        if machine::is_emulated() {
            eprintln!(
                "NOTE: not run against the fake, which shows nothing on an emulated machine but how slow that is"
            );
            return None;
        }
        let mut bed = TestBed::new(self.runner);
        let kernel = bed.write("vmlinux", KERNEL);
        bed.runner.env.insert(self.variable.into(), self.fake.into());
        bed.runner.env.insert(KERNEL_VARIABLE.into(), kernel.display().to_string());
        (self.with_fake)(&mut bed);
        if !bed.available() {
            return None;
        }
        // Nothing of `prepare` outlives its answer in this backend, so the owner need not.
        bed.own().release();
        Some(bed)
    }

    /// A bed with the real one. That there is none is no reason to skip a test, which has run against the fake by then:
    /// CI has no KVM. It is said, loudly.
    pub fn real_bed(&self) -> Option<TestBed> {
        let mut bed = TestBed::new(self.runner);
        (self.with_real)(&mut bed);
        match bed.runner.probe(&bed.context()) {
            Availability::Available { .. } => {
                bed.own().release();
                Some(bed)
            }
            Availability::Unavailable { reason, .. } => {
                eprintln!("NOTE: not run against the real {}: {reason}", self.name);
                None
            }
        }
    }

    /// What `test` says of every variant, of the fake and of the real one.
    pub fn of_each(&self, test: impl Fn(&TestBed, &str)) {
        if let Some(bed) = self.fake_bed() {
            let variants = bed.variants();
            if variants.len() < self.variants {
                skip(format!("of the variants of {} only {variants:?} can run here", self.name));
            }
            variants.iter().for_each(|variant| test(&bed, variant));
        }
        // Of the real one some are broken in some versions; each that is left out is said.
        if let Some(bed) = self.real_bed() {
            bed.variants().iter().for_each(|variant| test(&bed, variant));
        }
    }

    /// A native guest answers every experiment, and its phases add up. What is `told` of a footprint is the backend's
    /// own to look at.
    pub fn every_experiment(&self, told: impl Fn(&TestBed, &str, &Outcome)) {
        self.of_each(|bed, variant| {
            let echo = echo(bed);
            let run =
                |visit| bed.run(&bed.request(variant, Guest::Native, &echo, b"hello", b"hello", visit)).expect_ok();
            let warm = Some(Series { min_calls: 20, min_ms: 0, max_calls: 20, max_ms: 60_000 });
            let outcome = run(Visit::ColdStart { starts: 2.into(), warm });
            let phase = |name: &str| outcome.values(Experiment::ColdStart, name);
            let parts: &[&str] = match variant {
                "jailer" => {
                    &["create.jail", "create.spawn", "create.configure", "create.start", "boot", "load", "first_call"]
                }
                "boot" => &["create.spawn", "create.configure", "create.start", "boot", "load", "first_call"],
                "paused" => &["create", "boot", "load", "first_call"],
                _ => &["create.spawn", "create.load", "boot", "load", "first_call"],
            };
            for i in 0..2 {
                let sum: u64 = parts.iter().map(|name| phase(name)[i]).sum();
                assert_eq!(sum, phase("total")[i], "{variant}");
            }
            assert_eq!(phase("destroy").len(), 2, "{variant}");
            assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 20, "{variant}");

            let outcome = run(Visit::Footprint { instances: vec![1, 2] });
            let rss = outcome.values(Experiment::Footprint, "rss");
            // A machine ahead is there before the first instance, and becomes it.
            assert_eq!(rss[0] > 0, variant == "paused", "{variant}: {rss:?}");
            assert!(rss[1] > 0 && rss[2] > rss[1], "{variant}: {rss:?}");
            told(bed, variant, &outcome);

            let outcome = run(Visit::Throughput { warm: vec![1, 2], fresh: vec![1], duration_ms: 50 });
            let modes: Vec<(Mode, u32)> = outcome.histograms().iter().map(|&(mode, n, _)| (mode, n)).collect();
            assert_eq!(modes, [(Mode::Warm, 1), (Mode::Warm, 2), (Mode::Fresh, 1)], "{variant}");
        });
    }

    /// So do guests of the other kinds, where their agents are.
    pub fn wasm_and_js_guests(&self) {
        self.of_each(|bed, variant| {
            for guest in [Guest::Wasm, Guest::Js] {
                if bed.has_agent(guest) {
                    let echo = bed.artifact("workloads/echo", guest);
                    bed.run(&bed.request(variant, guest, &echo, b"hello", b"hello", one_start())).expect_ok();
                }
            }
        });
    }

    /// What a guest does wrong has its name, across the boundary.
    pub fn misbehaving_guests(&self) {
        self.of_each(|bed, variant| {
            let faults = [
                ("panic", GuestTrap, "panicked: as told"),
                ("eat", OutOfMemory, "more memory than its limit"),
                // The exit of a machine's init is the kernel's end, and the panic's own words say so.
                ("exit", ChannelClosed, "Kernel panic - not syncing: Attempted to kill init!"),
                ("answer 1 GiB", FrameTooLarge, "104857600 bytes, the limit is 16777216"),
                ("announce 1 GiB", FrameTooLarge, "1073741824 bytes, the limit is 16777216"),
                ("answer wrongly", WrongAnswer, "it starts `no`"),
                ("no frame", BadFrame, "unknown kind 255"),
                ("hang", DeadlineExceeded, "nothing after 500 ms"),
            ];
            for (what, kind, reason) in faults {
                let outcome = bed.run(&suite::telling(bed, variant, what, what));
                let message = &outcome.expect_fault(kind).message;
                assert!(message.contains(reason), "{variant}, {what}: {message}");
            }
            // More than the log of a console may have, which is the same for all, and each byte dear in an emulated machine.
            if variant == "boot" {
                let mut block = suite::telling(bed, variant, "chatter", "chatter");
                block.target.limits.emulated_call_deadline_ms = 500_000;
                bed.run(&block).expect_ok();
            }
        });
    }

    /// A block of a bed whose fake does something wrong, with a start that may take `start_ms`.
    pub fn wrong(&self, bed: &mut TestBed, variant: &str, fault: &str, start_ms: u64) -> Outcome {
        bed.runner.env.insert(FAULT_VARIABLE.into(), fault.into());
        let artifact = echo(bed);
        let mut block = one(bed, variant, &artifact);
        block.target.limits.start_deadline_ms = start_ms;
        if fault.starts_with(self.save) {
            // One that has not been saved before.
            block.ctx.cache = bed.write("here", "").with_file_name("empty-cache");
        }
        let outcome = bed.run(&block);
        bed.runner.env.remove(FAULT_VARIABLE);
        outcome
    }

    /// What is wrong with the answers to a request has a name: `answers` are what is done, the fault's name, and what
    /// its message says. Who hangs is given 1.5 s.
    pub fn wrong_answers<'a>(
        &self,
        bed: &mut TestBed,
        variant: &str,
        request: &str,
        answers: impl IntoIterator<Item = &'a (&'a str, FaultKind, &'a str)>,
    ) {
        for (what, kind, reason) in answers {
            let start_ms = if *kind == NoHello { 1_500 } else { 30_000 };
            let outcome = self.wrong(bed, variant, &format!("{request}:{what}"), start_ms);
            let message = &outcome.expect_fault(*kind).message;
            assert!(message.contains(request) || *kind == BackendFailed, "{request}, {what}: {message}");
            assert!(message.contains(reason), "{request}, {what}: {message}");
        }
    }

    /// A monitor that never comes and guests that are none have names: `faults` of variants, as above.
    pub fn faults(&self, faults: &[(&str, &str, FaultKind, &str)]) {
        let Some(mut bed) = self.fake_bed() else { return };
        for (variant, fault, kind, reason) in faults {
            let start_ms = if *kind == NoHello { 1_500 } else { 30_000 };
            let outcome = self.wrong(&mut bed, variant, fault, start_ms);
            let message = &outcome.expect_fault(*kind).message;
            assert!(message.contains(reason), "{fault}: {message}");
        }
    }

    /// A damaged state is named, and the next start goes on.
    pub fn damaged_state(&self) {
        let Some(bed) = self.fake_bed() else { return };
        // With a cache of its own, in which its state is the only one.
        let restoring = || {
            let mut block = one(&bed, "restore", &echo(&bed));
            block.ctx.cache = bed.write("here", "").with_file_name("cache");
            block
        };
        let run = || bed.run(&restoring());
        run().expect_ok();
        let states = restoring().ctx.cache.join("state");
        let entries: Vec<PathBuf> = fs::read_dir(states).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [home] = &entries[..] else { panic!("one state, and nothing half-made: {entries:?}") };
        let named = |reason: &str| {
            let outcome = run();
            let message = &outcome.expect_fault(BackendFailed).message;
            assert!(message.contains(reason), "{message}");
        };
        let [state_file, memory_file] = self.saved.map(|file| home.join(file));
        let state = fs::read(&state_file).unwrap();
        fs::write(&state_file, &state[..state.len() / 2]).unwrap();
        named(self.damaged);
        fs::write(&state_file, &state).unwrap();
        run().expect_ok();
        fs::OpenOptions::new().write(true).open(memory_file).unwrap().set_len(1 << 20).unwrap();
        named("has 1048576 bytes of memory; remove it");
        fs::remove_dir_all(home).unwrap();
        run().expect_ok();
    }

    /// A monitor that is killed while its guest hangs is named, and leaves nothing.
    pub fn killed_in_mid_call(&self) {
        self.of_each(|bed, variant| {
            // A machine that is to be saved is saved here.
            bed.run(&suite::telling(bed, variant, "fine", "fine")).expect_ok();
            let block = hanging(bed, variant);
            let outcome = std::thread::scope(|scope| {
                scope.spawn(|| {
                    if let Some(vmm) = self.process_of(&block.ctx.state) {
                        // A start takes less, the call then hangs; where it takes more, the start is what is hit.
                        std::thread::sleep(Duration::from_millis(700));
                        kill(vmm);
                    }
                });
                bed.run(&block)
            });
            let message = &outcome.expect_fault(BackendFailed).message;
            assert!(message.contains(&format!("{} was killed by signal 9", self.name)), "{variant}: {message}");
        });
    }

    /// The monitor of a block, once it is there. A jailed one has no cookie, but a parent that has.
    pub fn process_of(&self, state: &Path) -> Option<u32> {
        let is_vmm = |pid: u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            self.processes.iter().any(|begins| name.starts_with(begins))
        };
        let deadline = Deadline::after(Duration::from_secs(60));
        while !deadline.passed() {
            let ours = reap::with_cookie(state);
            let pids = fs::read_dir("/proc")
                .expect("/proc")
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
            let of_ours =
                |pid: u32| ours.contains(&pid) || reap::parent(pid).is_some_and(|parent| ours.contains(&parent));
            if let Some(vmm) = pids.into_iter().find(|&pid| is_vmm(pid) && of_ours(pid)) {
                return Some(vmm);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// A killed runner leaves no process, no socket and no folder: with the fake it has the monitor and its guest, which
    /// is a process; with the real one the monitor. What is the backend's `own` is asked of either bed.
    pub fn killed_runner(&self, own: impl Fn(&TestBed)) {
        if let Some(bed) = self.fake_bed() {
            suite::a_killed_runner(&bed, "boot", 3);
            suite::a_killed_runner(&bed, "restore", 3);
            own(&bed);
            let left =
                bed.runner.clean(&CleanRequest { ctx: bed.context(), dead: Vec::new() }).expect("a clean").removed;
            assert_eq!(left, Vec::<String>::new());
        }
        if let Some(bed) = self.real_bed() {
            suite::a_killed_runner(&bed, "boot", 2);
            own(&bed);
        }
    }

    /// What the runner says of a machine with these variables.
    pub fn probed(&self, bed: &TestBed, variables: &[(&str, &str)]) -> String {
        let mut command = Command::new(self.runner);
        command
            .arg("probe")
            .env_remove(self.variable)
            .env_remove(KERNEL_VARIABLE)
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        serde_json::to_writer(child.stdin.take().unwrap(), &bed.context()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    /// That it is unavailable, in these words among others.
    pub fn unavailable(&self, bed: &TestBed, variables: &[(&str, &str)], words: &[&str]) {
        let answer = self.probed(bed, variables);
        assert!(answer.contains("unavailable"), "{answer}");
        words.iter().for_each(|word| assert!(answer.contains(word), "{word}: {answer}"));
    }

    /// What is missing makes the backend unavailable with a reason and a remedy; what is broken costs its variant.
    /// `broken` are faults of the fake, and why a variant is absent then.
    pub fn missing(&self, bed: &TestBed, broken: &[(&str, &str)]) {
        let Tested { name, variable, releases, .. } = *self;
        let not_installed = format!("{name} is not installed");
        self.unavailable(bed, &[("PATH", "/nonexistent")], &[&not_installed, releases, variable]);
        self.unavailable(bed, &[(variable, "/nonexistent/vmm")], &["/nonexistent/vmm", releases]);
        let other = bed.write("other", "#!/bin/sh\necho another program 1.0\n");
        fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
        let is_none = format!("says it is no {name}");
        self.unavailable(bed, &[(variable, other.to_str().unwrap())], &[&is_none]);
        // One in which no guest boots, as without KVM. Another kernel, or it would be remembered that it did.
        let kernel = bed.write("kernel", [KERNEL, b" of which nothing boots"].concat());
        let fake = [(variable, self.fake), (KERNEL_VARIABLE, kernel.to_str().unwrap())];
        let refuses = format!("{}:refuse", self.start);
        let refusing = [&fake[..], &[(FAULT_VARIABLE, &refuses)]].concat();
        let words = ["a probe guest did not boot under KVM", "refused as told"];
        self.unavailable(bed, &refusing, &[&words[..], &["nested virtualisation"]].concat());
        // It is not asked again.
        self.unavailable(bed, &fake, &[&words[..], &["to ask again, remove kvm/"]].concat());
        for (fault, why) in broken {
            let kernel = bed.write("broken", [KERNEL, fault.as_bytes()].concat());
            let kernel = (KERNEL_VARIABLE, kernel.to_str().unwrap());
            let answer = self.probed(bed, &[fake[0], kernel, (FAULT_VARIABLE, fault)]);
            assert!(answer.contains(r#""state":"available""#) && answer.contains(why), "{answer}");
        }
    }

    /// A program that is no agent is named by what does not happen.
    pub fn no_agent(&self) {
        let Some(bed) = self.fake_bed() else { return };
        let silent = bed.write("silent", "#!/bin/sh\nexec sleep 600\n");
        let mut block = bed.request("boot", Guest::Native, &silent, b"", b"", one_start());
        block.target.limits.start_deadline_ms = 1_500;
        let outcome = bed.run(&block);
        let message = &outcome.expect_fault(NoHello).message;
        assert!(message.contains("the machine is Running"), "{message}");
    }
}

pub fn echo(bed: &TestBed) -> PathBuf {
    bed.artifact("workloads/echo", Guest::Native)
}

pub fn one(bed: &TestBed, variant: &str, artifact: &Path) -> BlockRequest {
    bed.request(variant, Guest::Native, artifact, b"hello", b"hello", one_start())
}

/// A block whose only call hangs for a minute.
pub fn hanging(bed: &TestBed, variant: &str) -> BlockRequest {
    let mut block = suite::telling(bed, variant, "hang", "");
    let limits = &mut block.target.limits;
    (limits.call_deadline_ms, limits.emulated_call_deadline_ms) = (60_000, 60_000);
    block
}

/// Ends a process that is ours by its cookie.
pub fn kill(pid: u32) {
    // SAFETY: a plain system call.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}
