//! A machine booted ahead that stands still, for the next start; whoever ends an instance boots the next.

use isobench_core::{Fault, FaultKind};
use isobench_guest::frame::Memory;
use isobench_runner::{Attribution, Deadline, Instance, Phases};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// A machine that can stand still.
pub trait Standing: Instance + Send + Sized + 'static {
    /// What it is started from.
    type Image: Clone + Send + Sync + 'static;

    /// Boots a machine to its agent's hello.
    ///
    /// # Errors
    /// The fault of a machine that cannot be started.
    fn start(image: &Self::Image, phases: &mut Phases, deadline: Deadline) -> Result<Self, Fault>;

    /// Stops it where it is, to be resumed.
    ///
    /// # Errors
    /// The fault of a machine that cannot be stopped.
    fn pause(&mut self, deadline: Deadline) -> Result<(), Fault>;

    /// Lets one that stands still run on, which ends the phase `boot`, and wakes its agent.
    ///
    /// # Errors
    /// The fault of a machine that does not run on.
    fn resume(&mut self, phases: &mut Phases, deadline: Deadline) -> Result<(), Fault>;
}

/// Where a machine that was asked for is sent.
type Answer<V> = mpsc::Sender<Result<V, Fault>>;

/// One machine ahead.
#[derive(Debug)]
pub struct Ahead<V: Standing> {
    image: V::Image,
    machine: Mutex<Option<V>>,
    keeper: mpsc::Sender<Answer<V>>,
}

impl<V: Standing> Ahead<V> {
    /// Boots the first one. Each may take `allowed` to boot.
    pub fn new(image: V::Image, allowed: Duration) -> Result<Arc<Ahead<V>>, Fault> {
        let (keeper, asked) = mpsc::channel::<Answer<V>>();
        let of = image.clone();
        // A thread of its own, because a VMM dies with the thread that made it, and those that stop instances come and go.
        let kept = thread::Builder::new().name("keeper".into()).spawn(move || {
            for answer in asked {
                let _ = answer.send(boot::<V>(&of, Deadline::after(allowed)));
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
            let vm = V::start(&self.image, phases, deadline)?;
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<V>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn boot<V: Standing>(image: &V::Image, deadline: Deadline) -> Result<V, Fault> {
    let mut vm = V::start(image, &mut Phases::new(), deadline)?;
    vm.pause(deadline)?;
    Ok(vm)
}

/// An instance whose end makes the next machine.
struct Taken<V: Standing> {
    vm: V,
    ahead: Arc<Ahead<V>>,
}

impl<V: Standing> Instance for Taken<V> {
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
