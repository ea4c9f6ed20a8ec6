//! A machine booted ahead that stands still, for the next start; whoever ends an instance boots the next.

use crate::vm::{Image, Vm};
use isobench_core::{Fault, FaultKind};
use isobench_guest::frame::Memory;
use isobench_runner::{Attribution, Deadline, Instance, Phases};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// Where a machine that was asked for is sent.
type Answer = mpsc::Sender<Result<Vm, Fault>>;

/// One machine ahead.
#[derive(Debug)]
pub struct Ahead {
    image: Image,
    machine: Mutex<Option<Vm>>,
    keeper: mpsc::Sender<Answer>,
}

impl Ahead {
    /// Boots the first one. Each may take `allowed` to boot.
    pub fn new(image: Image, allowed: Duration) -> Result<Arc<Ahead>, Fault> {
        let (keeper, asked) = mpsc::channel::<Answer>();
        let of = image.clone();
        // A thread of its own, because QEMU dies with the thread that made it, and those that stop instances come and go.
        let kept = thread::Builder::new().name("keeper".into()).spawn(move || {
            for answer in asked {
                let _ = answer.send(boot(&of, Deadline::after(allowed)));
            }
        });
        kept.map_err(|e| Fault::new(FaultKind::Internal, format!("a thread: {e}")))?;
        let ahead = Arc::new(Ahead { image, machine: Mutex::new(None), keeper });
        ahead.refill()?;
        Ok(ahead)
    }

    /// Resumes the machine; where another instance has it, or the next one is being booted, one is booted as `boot` does.
    pub fn start(self: &Arc<Self>, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let taken = self.machine.try_lock().ok().and_then(|mut machine| machine.take());
        let Some(mut vm) = taken else {
            let vm = Vm::start(&self.image, phases, deadline)?;
            return Ok(Box::new(Taken { vm, ahead: Arc::clone(self) }));
        };
        phases.end("create");
        vm.resume(phases, deadline)?;
        Ok(Box::new(Taken { vm, ahead: Arc::clone(self) }))
    }

    /// The machine that stands still.
    pub fn footprint(&self) -> Attribution {
        self.lock().as_ref().map(Instance::footprint).unwrap_or_default()
    }

    fn refill(&self) -> Result<(), Fault> {
        let mut machine = self.lock();
        if machine.is_none() {
            let gone = |_| Fault::new(FaultKind::Internal, "the thread that boots machines is gone");
            let (answer, booted) = mpsc::channel();
            self.keeper.send(answer).map_err(|_| gone(mpsc::RecvError))?;
            *machine = Some(booted.recv().map_err(gone)??);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vm>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn boot(image: &Image, deadline: Deadline) -> Result<Vm, Fault> {
    let mut vm = Vm::start(image, &mut Phases::new(), deadline)?;
    vm.pause()?;
    Ok(vm)
}

/// An instance whose end makes the next machine.
struct Taken {
    vm: Vm,
    ahead: Arc<Ahead>,
}

impl Instance for Taken {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.vm.call(request, deadline)
    }

    fn footprint(&self) -> Attribution {
        self.vm.footprint()
    }

    fn own_memory(&mut self, deadline: Deadline) -> Result<Option<Memory>, Fault> {
        self.vm.own_memory(deadline)
    }

    fn stop(self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        let Taken { vm, ahead } = *self;
        Box::new(vm).stop(deadline)?;
        ahead.refill()
    }
}
