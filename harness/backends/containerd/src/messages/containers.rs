//! The messages about containers and their tasks.

use super::{Any, Labels, Mount};
use prost::Message;

/// Who makes a container's processes.
#[derive(Clone, PartialEq, Message)]
pub struct Runtime {
    /// The runtime's type, which names the shim.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What the shim is told.
    #[prost(message, optional, tag = "2")]
    pub options: Option<Any>,
}

/// What `io.containerd.runc.v2` is told (`containerd.runc.v1.Options`).
#[derive(Clone, PartialEq, Message)]
pub struct RuncOptions {
    /// The OCI runtime's program, if it is not runc.
    #[prost(string, tag = "6")]
    pub binary_name: String,
}

/// What other shims are told (`runtimeoptions.v1.Options`).
#[derive(Clone, PartialEq, Message)]
pub struct RuntimeOptions {
    /// Whose options they are.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// A file with them.
    #[prost(string, tag = "2")]
    pub config_path: String,
}

/// A container: a record, of which nothing runs yet.
#[derive(Clone, PartialEq, Message)]
pub struct Container {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its labels.
    #[prost(map = "string, string", tag = "2")]
    pub labels: Labels,
    /// The name of its image.
    #[prost(string, tag = "3")]
    pub image: String,
    /// Who makes its processes.
    #[prost(message, optional, tag = "4")]
    pub runtime: Option<Runtime>,
    /// The OCI runtime's configuration.
    #[prost(message, optional, tag = "5")]
    pub spec: Option<Any>,
    /// Who has its files.
    #[prost(string, tag = "6")]
    pub snapshotter: String,
    /// Under which name.
    #[prost(string, tag = "7")]
    pub snapshot_key: String,
}

/// Makes a container.
#[derive(Clone, PartialEq, Message)]
pub struct CreateContainer {
    /// It.
    #[prost(message, optional, tag = "1")]
    pub container: Option<Container>,
}

/// Removes a container.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteContainer {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Asks for all containers.
#[derive(Clone, PartialEq, Message)]
pub struct ListContainers {}

/// All containers.
#[derive(Clone, PartialEq, Message)]
pub struct Containers {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Container>,
}

/// Makes a container's first process, which waits.
#[derive(Clone, PartialEq, Message)]
pub struct CreateTask {
    /// The container's name.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Its root.
    #[prost(message, repeated, tag = "3")]
    pub rootfs: Vec<Mount>,
    /// The file of its standard output.
    #[prost(string, tag = "5")]
    pub stdout: String,
    /// The file of its standard error. The shim copies what is written.
    #[prost(string, tag = "6")]
    pub stderr: String,
}

/// What was made.
#[derive(Clone, PartialEq, Message)]
pub struct Created {
    /// The process, as the daemon's namespace numbers it.
    #[prost(uint32, tag = "2")]
    pub pid: u32,
}

/// Lets a container's first process run.
#[derive(Clone, PartialEq, Message)]
pub struct StartTask {
    /// The container's name.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// Sends a signal to a container's first process.
#[derive(Clone, PartialEq, Message)]
pub struct KillTask {
    /// The container's name.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// The signal.
    #[prost(uint32, tag = "3")]
    pub signal: u32,
}

/// Asks to be told when a container's first process ends.
#[derive(Clone, PartialEq, Message)]
pub struct WaitTask {
    /// The container's name.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// How it ended.
#[derive(Clone, PartialEq, Message)]
pub struct Ended {
    /// As a shell has it: 128 and more is a signal.
    #[prost(uint32, tag = "1")]
    pub exit_status: u32,
}

/// Removes what is left of a container's processes: its mounts, cgroups and shim.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteTask {
    /// The container's name.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// Asks how a container's first process is.
#[derive(Clone, PartialEq, Message)]
pub struct GetTask {
    /// The container's name.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// How it is.
#[derive(Clone, PartialEq, Message)]
pub struct OneTask {
    /// It.
    #[prost(message, optional, tag = "1")]
    pub process: Option<Process>,
}

/// A container's first process.
#[derive(Clone, PartialEq, Message)]
pub struct Process {
    /// Whether it runs, or [`Process::STOPPED`].
    #[prost(int32, tag = "4")]
    pub status: i32,
    /// How it ended, as in [`Ended`].
    #[prost(uint32, tag = "9")]
    pub exit_status: u32,
}

impl Process {
    /// It has ended.
    pub const STOPPED: i32 = 3;
}
