//! The part of containerd's API that is used here: its messages, with the numbers that its `.proto` files give their
//! fields (github.com/containerd/containerd, `api/services` and `api/types`), and which answers which.

mod containers;

pub use containers::*;

use prost::Message;
use std::collections::HashMap;

/// A message that asks for something.
pub trait Request: Message + Default + 'static {
    /// The path of its method.
    const METHOD: &'static str;
    /// What is answered.
    type Answer: Message + Default + 'static;
}

macro_rules! methods {
    ($($request:ty, $method:literal => $answer:ty;)*) => {
        $(impl Request for $request {
            const METHOD: &'static str = $method;
            type Answer = $answer;
        })*
    };
}

methods! {
    (), "/containerd.services.version.v1.Version/Version" => Version;
    CreateLease, "/containerd.services.leases.v1.Leases/Create" => ();
    DeleteLease, "/containerd.services.leases.v1.Leases/Delete" => ();
    ListLeases, "/containerd.services.leases.v1.Leases/List" => Leases;
    WriteContent, "/containerd.services.content.v1.Content/Write" => ();
    ApplyDiff, "/containerd.services.diff.v1.Diff/Apply" => ();
    GetImage, "/containerd.services.images.v1.Images/Get" => OneImage;
    CreateImage, "/containerd.services.images.v1.Images/Create" => ();
    DeleteImage, "/containerd.services.images.v1.Images/Delete" => ();
    ListImages, "/containerd.services.images.v1.Images/List" => Images;
    PrepareSnapshot, "/containerd.services.snapshots.v1.Snapshots/Prepare" => Mounts;
    CommitSnapshot, "/containerd.services.snapshots.v1.Snapshots/Commit" => ();
    RemoveSnapshot, "/containerd.services.snapshots.v1.Snapshots/Remove" => ();
    CreateContainer, "/containerd.services.containers.v1.Containers/Create" => ();
    DeleteContainer, "/containerd.services.containers.v1.Containers/Delete" => ();
    ListContainers, "/containerd.services.containers.v1.Containers/List" => Containers;
    CreateTask, "/containerd.services.tasks.v1.Tasks/Create" => Created;
    StartTask, "/containerd.services.tasks.v1.Tasks/Start" => ();
    KillTask, "/containerd.services.tasks.v1.Tasks/Kill" => ();
    WaitTask, "/containerd.services.tasks.v1.Tasks/Wait" => Ended;
    DeleteTask, "/containerd.services.tasks.v1.Tasks/Delete" => ();
    GetTask, "/containerd.services.tasks.v1.Tasks/Get" => OneTask;
}

/// Labels of a thing.
pub type Labels = HashMap<String, String>;

/// `google.protobuf.Any`: a message, or JSON, of the type that its name says.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// The type's name.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// What somebody asked for by `()` is told of the daemon.
#[derive(Clone, PartialEq, Message)]
pub struct Version {
    /// For example `1.6.20`.
    #[prost(string, tag = "1")]
    pub version: String,
}

/// A blob of the content store.
#[derive(Clone, PartialEq, Message)]
pub struct Descriptor {
    /// What is in it.
    #[prost(string, tag = "1")]
    pub media_type: String,
    /// `sha256:` and the digest in hexadecimal.
    #[prost(string, tag = "2")]
    pub digest: String,
    /// Bytes.
    #[prost(int64, tag = "3")]
    pub size: i64,
}

/// Something to be mounted.
#[derive(Clone, PartialEq, Message)]
pub struct Mount {
    /// The file system, for example `overlay`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// What is mounted.
    #[prost(string, tag = "2")]
    pub source: String,
    /// Where.
    #[prost(string, tag = "3")]
    pub target: String,
    /// How.
    #[prost(string, repeated, tag = "4")]
    pub options: Vec<String>,
}

/// A lease: what it holds is not collected as garbage.
#[derive(Clone, PartialEq, Message)]
pub struct Lease {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Asks for a lease.
#[derive(Clone, PartialEq, Message)]
pub struct CreateLease {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Gives a lease back.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteLease {
    /// Its name.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The answer comes when what only this lease held has been collected.
    #[prost(bool, tag = "2")]
    pub sync: bool,
}

/// Asks for all leases.
#[derive(Clone, PartialEq, Message)]
pub struct ListLeases {}

/// All leases.
#[derive(Clone, PartialEq, Message)]
pub struct Leases {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub leases: Vec<Lease>,
}

/// A piece of a blob.
#[derive(Clone, PartialEq, Message)]
pub struct WriteContent {
    /// What is to be done: [`WriteContent::WRITE`] or [`WriteContent::COMMIT`].
    #[prost(int32, tag = "1")]
    pub action: i32,
    /// What the blob is called until it is whole.
    #[prost(string, tag = "2")]
    pub reference: String,
    /// The blob's bytes.
    #[prost(int64, tag = "3")]
    pub total: i64,
    /// The blob's digest.
    #[prost(string, tag = "4")]
    pub expected: String,
    /// Where in the blob the data lie.
    #[prost(int64, tag = "5")]
    pub offset: i64,
    /// The data.
    #[prost(bytes = "vec", tag = "6")]
    pub data: Vec<u8>,
    /// The blob's labels, with the last piece.
    #[prost(map = "string, string", tag = "7")]
    pub labels: Labels,
}

impl WriteContent {
    /// More will come.
    pub const WRITE: i32 = 1;
    /// That was all.
    pub const COMMIT: i32 = 2;
}

/// Unpacks a layer.
#[derive(Clone, PartialEq, Message)]
pub struct ApplyDiff {
    /// The layer.
    #[prost(message, optional, tag = "1")]
    pub diff: Option<Descriptor>,
    /// Where to.
    #[prost(message, repeated, tag = "2")]
    pub mounts: Vec<Mount>,
}

/// An image.
#[derive(Clone, PartialEq, Message)]
pub struct Image {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its labels.
    #[prost(map = "string, string", tag = "2")]
    pub labels: Labels,
    /// Its manifest.
    #[prost(message, optional, tag = "3")]
    pub target: Option<Descriptor>,
}

/// Asks for an image.
#[derive(Clone, PartialEq, Message)]
pub struct GetImage {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// An image that was asked for.
#[derive(Clone, PartialEq, Message)]
pub struct OneImage {
    /// It.
    #[prost(message, optional, tag = "1")]
    pub image: Option<Image>,
}

/// Gives a manifest in the content store a name.
#[derive(Clone, PartialEq, Message)]
pub struct CreateImage {
    /// The image.
    #[prost(message, optional, tag = "1")]
    pub image: Option<Image>,
}

/// Takes an image's name away.
#[derive(Clone, PartialEq, Message)]
pub struct DeleteImage {
    /// It.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The answer comes when what only this image held has been collected.
    #[prost(bool, tag = "2")]
    pub sync: bool,
}

/// Asks for all images.
#[derive(Clone, PartialEq, Message)]
pub struct ListImages {}

/// All images.
#[derive(Clone, PartialEq, Message)]
pub struct Images {
    /// They.
    #[prost(message, repeated, tag = "1")]
    pub images: Vec<Image>,
}

/// Asks for a snapshot that can be written to.
#[derive(Clone, PartialEq, Message)]
pub struct PrepareSnapshot {
    /// The snapshotter.
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    /// The snapshot's name.
    #[prost(string, tag = "2")]
    pub key: String,
    /// What it begins with: a committed snapshot, or nothing.
    #[prost(string, tag = "3")]
    pub parent: String,
}

/// How a snapshot is mounted.
#[derive(Clone, PartialEq, Message)]
pub struct Mounts {
    /// The mounts, in order.
    #[prost(message, repeated, tag = "1")]
    pub mounts: Vec<Mount>,
}

/// Makes a snapshot one that others can begin with.
#[derive(Clone, PartialEq, Message)]
pub struct CommitSnapshot {
    /// The snapshotter.
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    /// Its new name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its old name.
    #[prost(string, tag = "3")]
    pub key: String,
}

/// Removes a snapshot.
#[derive(Clone, PartialEq, Message)]
pub struct RemoveSnapshot {
    /// The snapshotter.
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    /// The snapshot's name.
    #[prost(string, tag = "2")]
    pub key: String,
}
