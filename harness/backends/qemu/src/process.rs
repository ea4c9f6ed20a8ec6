//! The QEMU process of a machine, and how it is spoken to.

use crate::control::{self, Control};
use crate::machine::{Beginning, Parts};
use crate::vm::Image;
use crate::vmm::{Log, Vmm};
use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The QEMU process. Dropping it kills it and removes the log of its guest's console.
#[derive(Debug)]
pub struct Qemu {
    /// The process.
    pub vmm: Vmm,
    /// How it is spoken to.
    pub control: Control,
}

impl Qemu {
    /// Starts QEMU with its files below the image's folder.
    pub fn spawn(image: &Image, beginning: &Beginning, socket: &Path, log: PathBuf) -> Result<Qemu, Fault> {
        let (control, theirs) = Control::pair().map_err(|e| Fault::backend(format!("control socket: {e}")))?;
        let theirs_number = control::number(&theirs);
        let parts = Parts {
            beginning: *beginning,
            initramfs: &image.initramfs,
            memory_mib: image.memory_mib,
            socket,
            log: &log,
            control: theirs_number,
        };
        let mut command = Command::new(&image.machine.qemu.program);
        command.args(image.machine.arguments(&parts));
        // It is to find open its end of the control socket, and the file of its memory or its state.
        let kept = [Some(theirs_number), beginning.inherited()];
        let keep = move || kept.into_iter().flatten().try_for_each(control::keep_open);
        Ok(Qemu { vmm: Vmm::spawn("QEMU", &mut command, Log::Named(log), keep)?, control })
    }

    /// The fault of QMP that did not do what it was asked to.
    pub fn failed(&mut self, what: &str, error: &io::Error, deadline: &Deadline) -> Fault {
        let kind = match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Fault::new(FaultKind::NoHello, deadline.fault(what).message)
            }
            io::ErrorKind::Other => Fault::backend(format!("{what}: {error}")),
            // It hung up, and ends.
            _ => Fault::new(FaultKind::ChannelClosed, format!("{what}: {error}")),
        };
        self.explain(kind)
    }

    /// Adds to a fault of the channel what QEMU and the guest's console know about it.
    pub fn explain(&mut self, fault: Fault) -> Fault {
        self.vmm.explain(fault, || self.control.status().unwrap_or_else(|| "silent".into()))
    }
}
