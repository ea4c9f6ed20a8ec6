//! One microVM: a monitor's process in a folder of its own, its API, and the agent's channel.

use crate::client::{Api, ApiError, Request};
use crate::monitor::{API, Image, Monitor, PORT, Place, VSOCK};
use isobench_core::{Fault, FaultKind, sha256_hex};
use isobench_guest::frame::Memory;
use isobench_qemu::paused::{Ahead, Standing};
use isobench_qemu::saved::{MEMORY, Saved, copy};
use isobench_qemu::vmm::Vmm;
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::{Attribution, Deadline, Deployment, Instance, Phases, RunContext, machine};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Numbers the machines of this process: their folders lie side by side.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Longest wait for a monitor to write a machine.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Grows with every change of what is saved, so that no state of an older layout is taken.
const LAYOUT: u32 = 1;

/// A machine's folder. Dropping it removes it.
#[derive(Debug)]
struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        // Made for this machine inside the block's state folder. What resists goes with that one.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A monitor in its folder, and how it is spoken to: a machine that has no agent yet.
#[derive(Debug)]
pub struct Process<M: Monitor> {
    // Fields are dropped in this order: the monitor before what its machine has, and both before their files.
    vmm: Vmm,
    /// What the machine has.
    pub own: M::Own,
    api: Option<Api>,
    listener: Listener,
    home: Home,
}

/// A running microVM. Dropping it kills its monitor.
#[derive(Debug)]
pub struct Vm<M: Monitor> {
    process: Process<M>,
    channel: Channel,
}

impl<M: Monitor> Vm<M> {
    /// Boots a machine to its agent's hello. `create.spawn` ends when the monitor's API is there, `create.configure`
    /// when it has been told what to make, `create.start` when it says that it runs, `boot` at the agent's `up`.
    ///
    /// # Errors
    /// The fault of a machine that does not come up.
    pub fn start(image: &Image<M>, phases: &mut Phases, deadline: Deadline) -> Result<Vm<M>, Fault> {
        let mut process = Process::spawn(image, phases, deadline)?;
        M::configure(image, &mut process, deadline)?;
        phases.end("create.configure");
        M::boot(&mut process, deadline)?;
        phases.end("create.start");
        let mut vm = process.connected(image.frame_limit, phases, deadline)?;
        vm.channel.expect_hello(deadline).map_err(|fault| vm.process.explain(fault))?;
        Ok(vm)
    }

    /// Restores a saved machine and wakes it. `create.load` ends when the monitor says that it runs, `boot` when its
    /// agent has dialled again.
    ///
    /// # Errors
    /// The fault of a machine that does not come up.
    pub fn restore(image: &Image<M>, saved: &Saved, phases: &mut Phases, deadline: Deadline) -> Result<Vm<M>, Fault> {
        let mut process = Process::spawn(image, phases, deadline)?;
        M::load(image, saved, &mut process, deadline)?;
        phases.end("create.load");
        let mut vm = process.connected(image.frame_limit, phases, deadline)?;
        vm.wake(deadline)?;
        Ok(vm)
    }

    /// A saved machine of `image`, made if no block has done so before.
    ///
    /// # Errors
    /// The fault of a machine that cannot be saved.
    pub fn saved(ctx: &RunContext, image: &Image<M>, deadline: Deadline) -> Result<Saved, Fault> {
        Saved::kept(ctx, &key(image), image.memory_mib, |dir| {
            let mut vm = Vm::start(image, &mut Phases::new(), deadline)?;
            vm.pause(deadline)?;
            let written = Deadline::after(WRITE_DEADLINE);
            M::save(&mut vm.process, dir, written).map_err(|fault| fault.context("saving a machine"))
        })
    }

    fn wake(&mut self, deadline: Deadline) -> Result<(), Fault> {
        self.channel.wake(deadline).map(drop).map_err(|fault| self.process.explain(fault))
    }
}

impl<M: Monitor> Process<M> {
    /// Starts the monitor and waits until its API answers.
    fn spawn(image: &Image<M>, phases: &mut Phases, deadline: Deadline) -> Result<Process<M>, Fault> {
        let home = Home(image.state.join(format!("vm{}", NEXT.fetch_add(1, Ordering::Relaxed))));
        fs::create_dir(&home.0).map_err(|e| Fault::backend(format!("{}: {e}", home.0.display())))?;
        let (folder, own) = M::make(image, &home.0)?;
        let listener = Listener::bind(folder.join(format!("{VSOCK}_{PORT}")))?;
        let place = Place { home: &home.0, folder: &folder, listener: listener.path() };
        let mut vmm = M::spawn(image, &own, &place, phases, deadline)?;
        let api = Api::connect(M::NAME, &folder.join(API), deadline, || vmm.alive())?;
        let mut process = Process { vmm, own, api, listener, home };
        if process.api.is_none() {
            let api = format!("{}'s API", M::NAME);
            return Err(process.explain(Fault::new(FaultKind::NoHello, deadline.fault(&api).message)));
        }
        phases.end("create.spawn");
        Ok(process)
    }

    /// The machine's folder.
    pub fn home(&self) -> &Path {
        &self.home.0
    }

    /// Asks the monitor for something.
    ///
    /// # Errors
    /// It is not done: the fault says why.
    pub fn send<R: Request>(&mut self, request: &R, deadline: Deadline) -> Result<(), Fault> {
        let api = self.api.as_mut().ok_or_else(|| Fault::backend(format!("{}'s API is not connected", M::NAME)))?;
        let fault = match api.send(request, deadline) {
            Ok(()) => return Ok(()),
            Err(ApiError::Silent { request }) => {
                // What comes later would be taken for an answer to something else.
                self.api = None;
                Fault::new(FaultKind::NoHello, deadline.fault(&request).message)
            }
            Err(closed @ ApiError::Closed { .. }) => Fault::new(FaultKind::ChannelClosed, closed.to_string()),
            Err(error) => Fault::backend(error.to_string()),
        };
        Err(self.explain(fault))
    }

    /// Waits for the agent's `up`.
    fn connected(mut self, frame_limit: u64, phases: &mut Phases, deadline: Deadline) -> Result<Vm<M>, Fault> {
        let vmm = &mut self.vmm;
        let alive = || match vmm.wait(Duration::ZERO)? {
            None => Ok(()),
            Some(_) => Err(Fault::new(FaultKind::ChannelClosed, "the agent did not connect")),
        };
        let up = self.listener.accept(frame_limit, deadline, alive).and_then(|mut channel| {
            let at = channel.expect_up(deadline)?;
            Ok((channel, at))
        });
        let (channel, at) = up.map_err(|fault| self.explain(fault))?;
        phases.end_at("boot", at);
        Ok(Vm { process: self, channel })
    }

    /// Adds to a fault what the monitor, the guest's console and what the machine has know about it.
    fn explain(&mut self, fault: Fault) -> Fault {
        let api = &mut self.api;
        let state = || api.as_mut().and_then(|api| api.state(M::INFO)).unwrap_or_else(|| "silent".into());
        M::explain(&self.own, self.vmm.explain(fault, state))
    }
}

impl<M: Monitor> Standing for Vm<M> {
    type Image = Image<M>;

    fn start(image: &Image<M>, phases: &mut Phases, deadline: Deadline) -> Result<Vm<M>, Fault> {
        Vm::start(image, phases, deadline)
    }

    fn pause(&mut self, deadline: Deadline) -> Result<(), Fault> {
        M::pause(&mut self.process, deadline)
    }

    /// `boot` ends when the monitor says that it runs.
    fn resume(&mut self, phases: &mut Phases, deadline: Deadline) -> Result<(), Fault> {
        M::resume(&mut self.process, deadline)?;
        phases.end("boot");
        self.wake(deadline)
    }
}

impl<M: Monitor> Instance for Vm<M> {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.process.explain(fault))
    }

    fn footprint(&self) -> Attribution {
        M::footprint(&self.process.own, self.process.vmm.id())
    }

    fn own_memory(&mut self, deadline: Deadline) -> Result<Option<Memory>, Fault> {
        self.channel.memory(deadline).map_err(|fault| self.process.explain(fault))
    }

    fn stop(mut self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        // There is nothing in the guest that wants saving.
        self.process.vmm.end(deadline)
    }
}

/// What a saved machine depends on.
fn key<M: Monitor>(image: &Image<M>) -> String {
    let vmm = &image.machine;
    let facts = [
        format!("{} {LAYOUT} {} {}", M::NAME, vmm.version(), vmm.program().display()),
        vmm.kernel().sha256.clone(),
        machine::describe().cpu,
        image.memory_mib.to_string(),
        image.initramfs.display().to_string(),
    ];
    sha256_hex(facts.join("\n").as_bytes())[..32].into()
}

/// Puts a guest's memory into the folder `dir` with holes: monitors write all of it, whether it was touched or not.
///
/// # Errors
/// The fault of a file.
pub fn keep_memory(full: &Path, dir: &Path) -> Result<(), Fault> {
    let lean = File::open(full).and_then(|from| copy(&from, &dir.join(MEMORY))).and_then(|()| fs::remove_file(full));
    lean.map_err(|e| Fault::backend(format!("its memory: {e}")))
}

/// A guest in a root file system, and how far it has come before it is started.
#[derive(Debug)]
pub enum Deployed<M: Monitor> {
    /// Not at all.
    Booted(Image<M>),
    /// To its hello, and saved then.
    Restored(Image<M>, Saved),
    /// To its hello, and stopped then.
    Paused(Arc<Ahead<Vm<M>>>),
}

impl<M: Monitor> Deployment for Deployed<M> {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        Ok(match self {
            Deployed::Booted(image) => Box::new(Vm::start(image, phases, deadline)?),
            Deployed::Restored(image, saved) => Box::new(Vm::restore(image, saved, phases, deadline)?),
            Deployed::Paused(ahead) => ahead.start(phases, deadline)?,
        })
    }

    fn footprint(&self) -> Attribution {
        match self {
            // Nothing is there before an instance is, and nothing is shared but page cache.
            Deployed::Booted(_) | Deployed::Restored(..) => Attribution::default(),
            Deployed::Paused(ahead) => ahead.footprint(),
        }
    }
}
