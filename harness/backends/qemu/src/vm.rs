//! One microVM: a QEMU process and the agent's channel.

use crate::machine::{Beginning, Machine};
use crate::paused::Standing;
use crate::process::Qemu;
use crate::saved::Saved;
use isobench_core::Fault;
use isobench_guest::frame::Memory;
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::{Attribution, Deadline, Instance, Phases};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Numbers the machines of this process: their files share one folder.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What a machine is started from.
#[derive(Debug, Clone)]
pub struct Image {
    /// The machine.
    pub machine: Machine,
    /// The guest's memory.
    pub memory_mib: u64,
    /// The root file system.
    pub initramfs: PathBuf,
    /// The folder for socket and log.
    pub state: PathBuf,
    /// The longest frame taken in.
    pub frame_limit: u64,
}

/// A running microVM. Dropping it kills QEMU.
#[derive(Debug)]
pub struct Vm {
    // Fields are dropped in this order: QEMU before its files.
    pub(crate) qemu: Qemu,
    channel: Channel,
}

impl Vm {
    /// Boots a machine to its agent's hello. `create` ends when QEMU, with its devices made, has connected the port to our
    /// socket; `boot` ends at the agent's `up`.
    pub fn start(image: &Image, phases: &mut Phases, deadline: Deadline) -> Result<Vm, Fault> {
        Vm::boot(image, &Beginning::Boot { memory: None }, phases, deadline)
    }

    /// The same, with the guest's memory where `beginning` says.
    pub(crate) fn boot(
        image: &Image,
        beginning: &Beginning,
        phases: &mut Phases,
        deadline: Deadline,
    ) -> Result<Vm, Fault> {
        let mut vm = Vm::create(image, beginning, phases, deadline)?;
        let begun = vm.channel.expect_up(deadline).and_then(|up| {
            phases.end_at("boot", up);
            vm.channel.expect_hello(deadline)
        });
        begun.map_err(|fault| vm.qemu.explain(fault))?;
        Ok(vm)
    }

    /// Restores a saved machine and wakes it. `boot` ends when QEMU says that it runs; its memory is mapped and comes
    /// when it is touched.
    pub fn restore(image: &Image, saved: &Saved, phases: &mut Phases, deadline: Deadline) -> Result<Vm, Fault> {
        let state = saved.open()?;
        let beginning = Beginning::Saved { memory: &saved.memory, state: state.as_raw_fd() };
        let mut vm = Vm::create(image, &beginning, phases, deadline)?;
        let restored = vm.qemu.control.restore(state.as_raw_fd(), deadline);
        restored.map_err(|error| vm.qemu.failed("restoring the machine", &error, &deadline))?;
        phases.end("boot");
        vm.wake(deadline)?;
        Ok(vm)
    }

    fn create(image: &Image, beginning: &Beginning, phases: &mut Phases, deadline: Deadline) -> Result<Vm, Fault> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let listener = Listener::bind(image.state.join(format!("vm{n}.sock")))?;
        let mut qemu = Qemu::spawn(image, beginning, listener.path(), image.state.join(format!("vm{n}.log")))?;
        let channel = listener.accept(image.frame_limit, deadline, || qemu.vmm.alive())?;
        phases.end("create");
        Ok(Vm { qemu, channel })
    }

    fn wake(&mut self, deadline: Deadline) -> Result<(), Fault> {
        self.channel.wake(deadline).map(drop).map_err(|fault| self.qemu.explain(fault))
    }
}

impl Standing for Vm {
    type Image = Image;

    fn start(image: &Image, phases: &mut Phases, deadline: Deadline) -> Result<Vm, Fault> {
        Vm::start(image, phases, deadline)
    }

    fn pause(&mut self, _: Deadline) -> Result<(), Fault> {
        self.qemu.control.stop().map_err(|error| Fault::backend(format!("stopping the machine: {error}")))
    }

    /// `boot` ends when QEMU says that it runs.
    fn resume(&mut self, phases: &mut Phases, deadline: Deadline) -> Result<(), Fault> {
        let resumed = self.qemu.control.resume();
        resumed.map_err(|error| self.qemu.failed("resuming the machine", &error, &deadline))?;
        phases.end("boot");
        self.wake(deadline)
    }
}

impl Instance for Vm {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.qemu.explain(fault))
    }

    fn footprint(&self) -> Attribution {
        Attribution::process(self.qemu.vmm.id())
    }

    fn own_memory(&mut self, deadline: Deadline) -> Result<Option<Memory>, Fault> {
        self.channel.memory(deadline).map_err(|fault| self.qemu.explain(fault))
    }

    fn stop(mut self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        self.qemu.control.quit();
        match self.qemu.vmm.wait(deadline.remaining())? {
            Some(_) => Ok(()),
            // Dropped on return, and so killed.
            None => Err(deadline.fault("QEMU, asked to quit")),
        }
    }
}
