//! The image: from scratch, one layer. Its blobs go into the content store, its layer is unpacked into a snapshot, as
//! after a pull.

use crate::api::{Client, unless};
use crate::messages::{
    ApplyDiff, CommitSnapshot, CreateImage, Descriptor, GetImage, Image, Labels, PrepareSnapshot, RemoveSnapshot,
    WriteContent,
};
use crate::spec::{AGENT, GUEST, MOUNT_POINTS};
use isobench_core::{Fault, sha256_hex};
use isobench_oci::layer::{Entry, layer};
use isobench_runner::{Deadline, owner};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use tonic::Code;

/// Names of images that are ours begin with this; the owner's tag follows.
pub const REPOSITORY: &str = "isobench/";
/// Who has the files of containers and images: what containerd's clients choose by default.
pub const SNAPSHOTTER: &str = "overlayfs";

/// Bytes of a blob in one message: containerd takes up to 16 MiB.
const PIECE: usize = 1 << 20;
/// What an image's label with the name of its unpacked layer is called.
const CHAIN: &str = "isobench.chain";
/// Numbers what this process unpacks.
static UNPACKED: AtomicU32 = AtomicU32::new(0);

/// An image that containers can be made of.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Its name.
    pub name: String,
    /// The snapshot that a container's begins with.
    pub chain: String,
}

/// Imports the image unless the daemon has it. Of two blocks that race, the second finds done what the first has done.
pub fn ensure(
    client: &Client,
    name: &str,
    agent: &Path,
    guest: Option<&Path>,
    deadline: Deadline,
) -> Result<Imported, Fault> {
    match client.call(GetImage { name: name.into() }, deadline) {
        Ok(found) => {
            if let Some(chain) = found.image.and_then(|image| image.labels.get(CHAIN).cloned()) {
                return Ok(Imported { name: name.into(), chain });
            }
        }
        Err(error) if error.code() == Some(Code::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    let mut entries = vec![Entry::File(AGENT, agent)];
    entries.extend(guest.map(|guest| Entry::File(GUEST, guest)));
    entries.extend(MOUNT_POINTS);
    let tar = layer(&entries).map_err(|e| Fault::backend(format!("packing the image {name}: {e}")))?;
    import(client, name, &tar, deadline)
}

fn import(client: &Client, name: &str, tar: &[u8], deadline: Deadline) -> Result<Imported, Fault> {
    let layer = store(client, "application/vnd.oci.image.layer.v1.tar", tar, &[], deadline)?;
    // Of the first layer, the name of what is unpacked is the digest of what is to be unpacked.
    let chain = layer.digest.clone();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [&layer.digest] },
    });
    let unpacked = format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}");
    let config =
        store_json(client, "application/vnd.oci.image.config.v1+json", &config, &[(&unpacked, &chain)], deadline)?;
    let descriptor = |of: &Descriptor| json!({ "mediaType": of.media_type, "digest": of.digest, "size": of.size });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(&config),
        "layers": [descriptor(&layer)],
    });
    // By these labels the collector of garbage finds from the image what belongs to it.
    let parts = [
        ("containerd.io/gc.ref.content.config", config.digest.as_str()),
        ("containerd.io/gc.ref.content.l.0", layer.digest.as_str()),
    ];
    let target = store_json(client, media_type, &manifest, &parts, deadline)?;
    unpack(client, layer, &chain, deadline)?;
    let labels = Labels::from([(CHAIN.into(), chain.clone())]);
    let image = Image { name: name.into(), labels, target: Some(target) };
    unless(Code::AlreadyExists, client.call(CreateImage { image: Some(image) }, deadline))?;
    Ok(Imported { name: name.into(), chain })
}

fn store_json(
    client: &Client,
    media_type: &str,
    value: &Value,
    labels: &[(&str, &str)],
    deadline: Deadline,
) -> Result<Descriptor, Fault> {
    store(client, media_type, value.to_string().as_bytes(), labels, deadline)
}

/// Brings a blob into the content store.
fn store(
    client: &Client,
    media_type: &str,
    blob: &[u8],
    labels: &[(&str, &str)],
    deadline: Deadline,
) -> Result<Descriptor, Fault> {
    let expected = format!("sha256:{}", sha256_hex(blob));
    let piece = |(n, data): (usize, &[u8])| WriteContent {
        action: WriteContent::WRITE,
        reference: format!("isobench-{}-{expected}", owner::me()),
        total: blob.len() as i64,
        expected: expected.clone(),
        offset: (n * PIECE) as i64,
        data: data.to_vec(),
        labels: Labels::new(),
    };
    let mut pieces: Vec<WriteContent> = blob.chunks(PIECE).enumerate().map(piece).collect();
    if let Some(last) = pieces.last_mut() {
        last.action = WriteContent::COMMIT;
        last.labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    }
    unless(Code::AlreadyExists, client.upload(pieces, deadline))?;
    Ok(Descriptor { media_type: media_type.into(), digest: expected, size: blob.len() as i64 })
}

/// Unpacks a layer into the snapshot `chain`.
fn unpack(client: &Client, layer: Descriptor, chain: &str, deadline: Deadline) -> Result<(), Fault> {
    let snapshotter = || SNAPSHOTTER.to_string();
    let key = format!("isobench-{}-unpack-{}", owner::me(), UNPACKED.fetch_add(1, Ordering::Relaxed));
    let prepare = PrepareSnapshot { snapshotter: snapshotter(), key: key.clone(), parent: String::new() };
    let mounts = client.call(prepare, deadline)?.mounts;
    let committed = client.call(ApplyDiff { diff: Some(layer), mounts }, deadline).and_then(|()| {
        let commit = CommitSnapshot { snapshotter: snapshotter(), name: chain.into(), key: key.clone() };
        client.call(commit, deadline)
    });
    if committed.is_err() {
        // In vain or not: the lease would let go of it at the end of the run.
        let _ = client.call(RemoveSnapshot { snapshotter: snapshotter(), key }, deadline);
    }
    Ok(unless(Code::AlreadyExists, committed)?)
}
