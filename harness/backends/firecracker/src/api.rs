//! What Firecracker is asked: the bodies of its API's requests, as version 1.16.1 describes them, of each the fields
//! that are used here. It refuses what it does not know, so nothing is sent that was not asked for.

use crate::client::Request;
use serde::Serialize;
use std::path::Path;

/// The machine's processor and memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineConfig {
    /// Processors.
    pub vcpu_count: u8,
    /// Memory.
    pub mem_size_mib: u64,
}

impl Request for MachineConfig {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/machine-config";
}

/// What the machine boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BootSource<'a> {
    /// A `vmlinux`.
    pub kernel_image_path: &'a Path,
    /// The root file system.
    pub initrd_path: &'a Path,
    /// The kernel's command line.
    pub boot_args: &'a str,
}

impl Request for BootSource<'_> {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/boot-source";
}

/// The machine's vsock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vsock<'a> {
    /// The guest's own number.
    pub guest_cid: u32,
    /// Firecracker's socket. Where the guest dials a port of the host it dials this path, an underscore and the port.
    pub uds_path: &'a str,
}

impl Request for Vsock<'_> {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/vsock";
}

/// An act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// Which.
    pub action_type: ActionType,
}

/// The acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ActionType {
    /// The machine is made as it has been described, and runs.
    InstanceStart,
}

impl Request for Action {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/actions";
}

/// How a machine that has been started is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vm {
    /// How.
    pub state: State,
}

/// The states that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum State {
    /// It stands still.
    Paused,
    /// It runs on.
    Resumed,
}

impl Request for Vm {
    const METHOD: &'static str = "PATCH";
    const PATH: &'static str = "/vm";
}

/// Save a machine that stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotCreate<'a> {
    /// All of it, or what has changed.
    pub snapshot_type: SnapshotType,
    /// Where everything but the memory goes.
    pub snapshot_path: &'a Path,
    /// Where the memory goes.
    pub mem_file_path: &'a Path,
}

/// How much is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SnapshotType {
    /// All of it.
    Full,
}

impl Request for SnapshotCreate<'_> {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/snapshot/create";
}

/// Become a machine that was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotLoad<'a> {
    /// Everything but the memory.
    pub snapshot_path: &'a Path,
    /// The memory.
    pub mem_backend: MemoryBackend<'a>,
    /// It is to run at once.
    pub resume_vm: bool,
}

/// Where a restored machine's memory comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryBackend<'a> {
    /// Who brings its pages.
    pub backend_type: BackendType,
    /// The file, or the socket of who brings them.
    pub backend_path: &'a Path,
}

/// Who brings the pages of a restored machine's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum BackendType {
    /// The host's kernel, from a file that is mapped.
    File,
    /// A process that is told of each fault (userfaultfd).
    Uffd,
}

impl Request for SnapshotLoad<'_> {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/snapshot/load";
}
