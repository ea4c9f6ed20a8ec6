//! The workerd backend through the coordinator: every fault by its name, nothing left behind.

use isobench_core::{Experiment, FaultKind, Guest};
use isobench_runner::place::{self, Places};
use isobench_runner::protocol::{BlockRequest, Visit};
use isobench_runner::reap;
use isobench_runner::testing::js::runtime::{self, telling};
use isobench_runner::testing::{
    Outcome, TestBed, all_load, all_throughput, contract, one_start, skip, starts_and_calls, suite,
};
use isobench_runner::{Backend, Deadline, Deployment, Instance, Phases, Prepared};
use isobench_workerd::{Variant, Workerd};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A bed with the workerd that is used outside tests; `None`, and loudly, where there is none.
fn bed() -> Option<TestBed> {
    let mut bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-workerd"));
    let Some(program) = place::fetched(&Places::find().expect("a cache").cache, "workerd") else {
        skip("there is no workerd: `scripts/workerd.sh` fetches it");
        return None;
    };
    bed.runner.env.insert("ISOBENCH_WORKERD".into(), program.display().to_string());
    bed.available().then_some(bed)
}

fn of_each(test: impl Fn(&TestBed, &str)) {
    if let Some(bed) = bed() {
        Variant::ALL.iter().for_each(|variant| test(&bed, variant.name()));
    }
}

/// A deployment in this process, which sees the one workerd that the runner would.
fn deployed(bed: &TestBed, request: &BlockRequest) -> (Box<dyn Prepared>, Box<dyn Deployment>) {
    // What a context of the bed does not have: the cache in which the program lies is the user's.
    let mut ctx = request.ctx.clone();
    ctx.cache = Places::find().expect("a cache").cache;
    std::fs::create_dir_all(&ctx.state).expect("a state folder");
    let prepared = Workerd.open(&ctx, &request.prepared).expect("open");
    let deployment = prepared.deploy(&ctx, &request.target).expect("deploy");
    assert!(bed.available());
    (prepared, deployment)
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn start(deployment: &dyn Deployment) -> Box<dyn Instance> {
    deployment.start(&mut Phases::new(), soon()).expect("start")
}

#[test]
fn a_damaged_configuration_is_compiled_again() {
    let Some(bed) = bed() else { return };
    let cache = tempfile::tempdir().expect("a temporary folder");
    let run = || {
        let mut request = telling(&bed, "static", "", "");
        request.ctx.cache = cache.path().into();
        bed.run(&request).expect_ok();
        let files = std::fs::read_dir(cache.path().join("workerd/configs")).expect("the configurations");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        files.retain(|file| file.extension().is_some_and(|end| end == "bin"));
        (files[0].clone(), std::fs::read(&files[0]).expect("a configuration"))
    };
    let (file, whole) = run();
    for damage in ["", "no configuration"] {
        std::fs::write(&file, damage).expect("damaging the configuration");
        assert_eq!(run(), (file.clone(), whole.clone()));
    }
}

#[test]
fn every_guest_goes_through_every_experiment() {
    of_each(|bed, variant| {
        [Guest::Wasm, Guest::Js].into_iter().for_each(|guest| every_experiment(bed, variant, guest))
    });
}

fn every_experiment(bed: &TestBed, variant: &str, guest: Guest) {
    {
        let echo = bed.artifact("workloads/echo", guest);
        let run = |visit| bed.run(&bed.request(variant, guest, &echo, b"hello", b"hello", visit)).expect_ok();
        let outcome = run(starts_and_calls());
        for metric in ["total", "load", "first_call", "destroy"] {
            assert_eq!(outcome.values(Experiment::ColdStart, metric).len(), 3, "{variant} {guest}: {metric}");
        }
        assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100, "{variant} {guest}");
        // Not PSS, which falls when another test has the same program.
        let rss = run(Visit::Footprint { instances: vec![1, 4, 16] }).values(Experiment::Footprint, "rss");
        assert!(rss.len() == 4 && rss[0] < rss[3], "{variant} {guest}: {rss:?}");
        assert_eq!(rss[0] > 0, variant != "static", "what there is before any instance: {rss:?}");
        assert_eq!(run(all_throughput()).histograms().len(), 6, "{variant} {guest}");
        for visit in all_load() {
            assert!(!run(visit).0.is_empty(), "{variant} {guest}");
        }
    }
}

#[test]
fn what_a_guest_does_wrong_has_a_name_and_a_reason() {
    let own = [("eat the heap", FaultKind::OutOfMemory, "heap out of memory")];
    of_each(|bed, variant| {
        runtime::faults(bed, variant, &own, &["chatter", "throw later"]);
        suite::wasm_faults(bed, variant);
    });
}

#[test]
fn it_keeps_the_contract_of_every_engine() {
    of_each(|bed, variant| {
        contract::js(bed, variant);
        contract::wasm(bed, variant);
    });
}

#[test]
fn what_is_wrong_with_a_guest_itself_has_a_name() {
    of_each(|bed, variant| {
        runtime::wrong_guests(bed, variant);
        let text = "import './nothing.js'; export function handle() {}";
        runtime::of_text(bed, variant, text).expect_fault(FaultKind::InvalidGuest);
    });
}

#[test]
fn answers_of_every_size_arrive_whole() {
    of_each(|bed, variant| {
        [Guest::Wasm, Guest::Js].into_iter().for_each(|guest| runtime::every_size(bed, variant, guest))
    });
}

#[test]
fn a_canary_in_one_instance_is_not_found_in_the_next_thousand() {
    of_each(|bed, variant| {
        runtime::a_canary(bed, variant, if variant == "static" { 50 } else { 1_000 });
        let (_prepared, deployment) = deployed(bed, &telling(bed, variant, "", ""));
        let seed = || start(&*deployment).call(b"show a random seed", soon()).expect("a seed");
        assert_ne!(seed(), seed());
    });
}

/// workerd throws the code cache of its own start away where V8's flags are not those that it was made with, says so,
/// and is slower from then on.
#[test]
fn workerd_has_nothing_to_complain_of() {
    let Some(mut bed) = bed() else { return };
    let words = bed.write("words", "");
    let fake = format!("#!/bin/sh\nexec {} \"$@\" 2>>{}\n", bed.runner.env["ISOBENCH_WORKERD"], words.display());
    let fake = bed.write("workerd", fake);
    std::fs::set_permissions(&fake, PermissionsExt::from_mode(0o755)).expect("permissions");
    bed.runner.env.insert("ISOBENCH_WORKERD".into(), fake.display().to_string());
    for variant in Variant::ALL {
        for guest in [Guest::Wasm, Guest::Js] {
            let echo = bed.artifact("workloads/echo", guest);
            bed.run(&bed.request(variant.name(), guest, &echo, b"", b"", one_start())).expect_ok();
            let words = std::fs::read_to_string(&words).expect("its words");
            assert!(!words.contains("compile cache"), "{variant:?} {guest}: {words}");
        }
    }
}

#[test]
fn no_guest_reaches_a_network() {
    of_each(|bed, variant| {
        let mut request = telling(bed, variant, "", "");
        request.ctx.cache = Places::find().expect("a cache").cache;
        runtime::no_network(&Workerd, &request);
    });
}

/// workerd has one thread for all isolates: who never returns, or fills its heap, takes the others along.
#[test]
fn neighbours_of_a_guest_that_ends_the_process_are_told_and_the_next_start_gets_another() {
    let Some(bed) = bed() else { return };
    for variant in ["dynamic", "pool"] {
        for (harm, kind) in [("hang", FaultKind::DeadlineExceeded), ("eat the heap", FaultKind::OutOfMemory)] {
            let (_prepared, deployment) = deployed(&bed, &telling(&bed, variant, "", ""));
            let (mut one, mut other) = (start(&*deployment), start(&*deployment));
            assert_eq!(one.footprint(), other.footprint(), "they live in one process");
            let allowed = if harm == "hang" { Deadline::after(Duration::from_millis(300)) } else { soon() };
            assert_eq!(one.call(harm.as_bytes(), allowed).expect_err("a fault").kind, kind, "{variant}");
            let told = other.call(b"", soon()).expect_err("its process is gone").kind;
            assert!(matches!(told, FaultKind::ChannelClosed | FaultKind::OutOfMemory), "{variant}, {harm}: {told}");
            one.stop(soon()).expect("stop");
            drop(other);
            let mut next = start(&*deployment);
            assert_eq!(next.call(b"", soon()).expect("an answer"), b"");
            next.stop(soon()).expect("stop");
        }
    }
}

#[test]
fn an_isolate_that_is_stopped_or_dropped_is_gone_and_its_name_is_not_used_again() {
    let Some(bed) = bed() else { return };
    let (_prepared, deployment) = deployed(&bed, &telling(&bed, "dynamic", "", ""));
    for stop in [true, false] {
        let mut instance = start(&*deployment);
        instance.call(b"plant a canary", soon()).expect("an answer");
        if stop {
            instance.stop(soon()).expect("stop")
        } else {
            drop(instance)
        }
        let mut next = start(&*deployment);
        assert_eq!(next.call(b"plant a canary", soon()).expect("an answer"), b"plant a canary");
        next.stop(soon()).expect("stop");
    }
}

#[test]
fn whatever_ends_an_instance_or_its_runner_leaves_nothing() {
    of_each(|bed, variant| {
        let request = telling(bed, variant, "", "");
        let (prepared, deployment) = deployed(bed, &request);
        let files = || std::fs::read_dir(&request.ctx.state).expect("the folder").count();
        let before = files();
        let mut pids = deployment.footprint().pids;
        for way in ["stop", "drop", "kill"] {
            let mut instance = start(&*deployment);
            instance.call(b"", soon()).expect("an answer");
            let own = instance.footprint().pids;
            pids.extend(&own);
            match way {
                "stop" => instance.stop(soon()).expect("stop"),
                "drop" => drop(instance),
                _ => {
                    // SAFETY: a signal to a process that this test started.
                    own.iter().for_each(|&pid| assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGKILL) }, 0));
                    let fault = instance.call(b"", soon()).expect_err("dead");
                    assert_eq!(fault.kind, FaultKind::ChannelClosed);
                    assert!(fault.message.contains("SIGKILL"), "{fault}");
                    instance.stop(soon()).expect("stop");
                }
            }
            assert_eq!(files(), before, "{variant}, {way}: no socket is left");
            if variant == "static" {
                assert!(own.iter().all(|&pid| reap::start_time(pid).is_none()), "{own:?} are gone");
            }
        }
        drop((deployment, prepared));
        assert!(pids.iter().all(|&pid| reap::start_time(pid).is_none()), "{variant}: {pids:?} are gone");
        assert_eq!(files(), 0, "{variant}");
        // The runner, and workerd.
        suite::a_runner_killed_during(bed, telling(bed, variant, "hang", ""), 2);
    });
}

#[test]
fn workerd_ends_with_its_runner_though_nobody_cleans_up() {
    of_each(|bed, variant| {
        let request = telling(bed, variant, "hang", "");
        let mut command = Command::new(&bed.runner.program);
        command.arg("block").env(reap::COOKIE, &request.ctx.state).envs(&bed.runner.env);
        let mut runner = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a runner");
        let line = serde_json::to_string(&request).expect("a request") + "\n";
        runner.stdin.take().expect("piped").write_all(line.as_bytes()).expect("told");
        let deadline = soon();
        let workerd = loop {
            let others = reap::with_cookie(&request.ctx.state).into_iter().find(|pid| *pid != runner.id());
            if let Some(pid) = others {
                break pid;
            }
            assert!(!deadline.passed(), "{variant}: no workerd");
            std::thread::sleep(Duration::from_millis(2));
        };
        runner.kill().and_then(|()| runner.wait()).expect("killed");
        while reap::start_time(workerd).is_some() {
            assert!(!deadline.passed(), "{variant}: workerd outlives its runner");
            std::thread::sleep(Duration::from_millis(2));
        }
        reap::kill_cookie(&request.ctx.state);
        std::fs::remove_dir_all(&request.ctx.state).expect("the test's own folder");
    });
}

#[test]
fn a_program_that_is_no_workerd_is_told_by_name() {
    let mut bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-workerd"));
    let mut with = |script: &str| -> Vec<Outcome> {
        let fake = bed.write("workerd", format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&fake, PermissionsExt::from_mode(0o755)).expect("permissions");
        bed.runner.env.insert("ISOBENCH_WORKERD".into(), fake.display().to_string());
        let run = |variant: &Variant| {
            let mut request = telling(&bed, variant.name(), "", "");
            request.target.limits.start_deadline_ms = 300;
            bed.run(&request)
        };
        Variant::ALL.iter().map(run).collect()
    };
    let mut expect = |script: &str, kind: FaultKind, reason: &str| {
        for outcome in with(script) {
            let message = &outcome.expect_fault(kind).message;
            assert!(message.contains(reason), "{script}: {message}");
        }
    };
    expect("echo no config >&2; exit 7", FaultKind::BackendFailed, "no config");
    expect("[ $1 = serve ] || sleep 600", FaultKind::BackendFailed, "not done after");
    expect("[ $1 = serve ] || exit 0; echo no worker >&2; exit 7", FaultKind::NoHello, "no worker");
    expect("[ $1 = serve ] || exit 0; exec sleep 600", FaultKind::NoHello, "300 ms");
    expect("[ $1 = serve ] || exit 0; kill -SEGV $$", FaultKind::GuestTrap, "SIGSEGV");
}
