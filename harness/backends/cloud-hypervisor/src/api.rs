//! What Cloud Hypervisor is asked: the bodies of its API's requests, as version 53 describes them, of each the fields
//! that are used here. Unlike Firecracker it takes what it does not know without a word, and does nothing about it.

use isobench_firecracker::client::Request;
use serde::Serialize;
use std::path::Path;

/// Where it says how the machine is.
pub const INFO: &str = "/api/v1/vm.info";

/// The machine is made as it has been described, and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Boot;

impl Request for Boot {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/api/v1/vm.boot";
}

/// It stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pause;

impl Request for Pause {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/api/v1/vm.pause";
}

/// It runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Resume;

impl Request for Resume {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/api/v1/vm.resume";
}

/// What the machine is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VmConfig<'a> {
    /// Its processors.
    pub cpus: Cpus,
    /// Its memory.
    pub memory: Memory,
    /// What it boots.
    pub payload: Payload<'a>,
    /// Its serial line.
    pub serial: Console,
    /// A console on virtio, which it has if nobody says no.
    pub console: Console,
    /// Its vsock.
    pub vsock: Vsock<'a>,
}

impl Request for VmConfig<'_> {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/api/v1/vm.create";
}

/// A machine's processors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cpus {
    /// How many it has when it boots.
    pub boot_vcpus: u32,
    /// How many it may have.
    pub max_vcpus: u32,
}

/// A machine's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// In bytes.
    pub size: u64,
}

/// What a machine boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payload<'a> {
    /// A `vmlinux` with an entry for PVH, or a bzImage.
    pub kernel: &'a Path,
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// The root file system.
    pub initramfs: &'a Path,
}

/// A console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Console {
    /// Where it goes.
    pub mode: ConsoleMode,
}

/// Where a console goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ConsoleMode {
    /// There is none.
    Off,
    /// To the standard output.
    Tty,
}

/// A machine's vsock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vsock<'a> {
    /// The guest's own number.
    pub cid: u32,
    /// Its socket. Where the guest dials a port of the host this path, an underscore and the port are dialled.
    pub socket: &'a str,
}

/// Save a machine that stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot<'a> {
    /// The folder that its files go into, as `file://` and a path.
    pub destination_url: &'a str,
}

impl Request for Snapshot<'_> {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/api/v1/vm.snapshot";
}

/// Become a machine that was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restore<'a> {
    /// The folder with its files.
    pub source_url: &'a str,
    /// It is to run at once.
    pub resume: bool,
}

impl Request for Restore<'_> {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = "/api/v1/vm.restore";
}
