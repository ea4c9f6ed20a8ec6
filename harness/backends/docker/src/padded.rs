//! Images of a given size and number of layers, made anew for every deployment: what an image's bulk costs the starts
//! from it, the first one after the import apart.

use crate::api::within;
use crate::image::tar_of;
use bollard::Docker;
use bollard::query_parameters::{ImportImageOptions, RemoveImageOptions};
use futures_util::TryStreamExt;
use isobench_core::{Fault, sha256_hex};
use isobench_runner::Deadline;
use isobench_runner::agents::AgentPackage;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::io;
use std::time::Duration;

/// How large an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulk {
    /// Bytes of all its files, agent and guest included; where these are more, they are all there is.
    pub bytes: usize,
    /// Layers, the agent's on top.
    pub layers: usize,
}

/// Size of a padding file in bytes: 200 MB are 3,000 of them.
const FILE: usize = 64 << 10;
/// Files of a folder.
const FOLDER_FILES: usize = 100;
/// Longest wait for the daemon to take an image away: it deletes thousands of files.
const REMOVE_DEADLINE: Duration = Duration::from_secs(30);

/// An imported image that is nobody else's. Goes from the daemon with the drop.
pub struct Image {
    docker: Docker,
    name: String,
}

impl Image {
    /// Packs and imports an image whose padding nobody has seen, so that the daemon has none of its layers.
    ///
    /// # Errors
    /// A program that cannot be read; a daemon that refuses, or is not done by the deadline.
    pub fn import(
        docker: &Docker,
        name: String,
        package: &AgentPackage,
        bulk: Bulk,
        deadline: Deadline,
    ) -> Result<Image, Fault> {
        let top = tar_of(&package.program, package.guest.as_deref());
        let archive = top.and_then(|top| archive(&name, top, bulk, &mut rand::make_rng()));
        let archive = archive.map_err(|e| Fault::backend(format!("packing the image {name}: {e}")))?;
        // Before it is asked for: an import that is cut short may leave one.
        let image = Image { docker: docker.clone(), name };
        let options = ImportImageOptions { quiet: true, ..Default::default() };
        let import = docker.import_image(options, bollard::body_full(archive.into()), None);
        within(deadline, "image load", import.try_for_each(|_| async { Ok(()) }))?;
        Ok(image)
    }
}

impl Image {
    /// Its name, tag included.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let options = RemoveImageOptions { force: true, ..Default::default() };
        let remove = self.docker.remove_image(&self.name, Some(options), None);
        // What stays after all goes with its owner.
        let _ = within(Deadline::after(REMOVE_DEADLINE), "image remove", remove);
    }
}

/// What `docker save` writes, and `docker load` reads: layers, the image's configuration, the manifest
/// (Docker Image Specification 1.2, "Combined Image JSON + Filesystem Changeset Format").
fn archive(name: &str, top: Vec<u8>, bulk: Bulk, rng: &mut ChaCha8Rng) -> io::Result<Vec<u8>> {
    let padding = bulk.bytes.saturating_sub(top.len());
    let mut out = tar::Builder::new(Vec::with_capacity(bulk.bytes + (4 << 20)));
    let (mut layers, mut sums) = (Vec::new(), Vec::new());
    let mut top = Some(top);
    for number in 0..bulk.layers {
        // The agent's files have no end-of-archive mark yet where padding follows them.
        let agent = if number + 1 == bulk.layers { top.take() } else { None };
        let layer = layer(agent.unwrap_or_default(), number, padding / bulk.layers, rng)?;
        let file = format!("{number}.tar");
        put(&mut out, &file, &layer)?;
        sums.push(format!("sha256:{}", sha256_hex(&layer)));
        layers.push(file);
    }
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": sums },
    });
    put(&mut out, "config.json", config.to_string().as_bytes())?;
    let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": layers }]);
    put(&mut out, "manifest.json", manifest.to_string().as_bytes())?;
    out.into_inner()
}

/// A layer's archive: `before` with its end cut off, and padding.
fn layer(mut before: Vec<u8>, number: usize, padding: usize, rng: &mut ChaCha8Rng) -> io::Result<Vec<u8>> {
    // An archive ends with two blocks of zeros.
    before.truncate(before.len().saturating_sub(1024));
    let mut tar = tar::Builder::new(before);
    let mut bytes = vec![0; FILE];
    let mut left = padding;
    for file in 0.. {
        let size = left.min(FILE);
        if size == 0 {
            break;
        }
        rng.fill_bytes(&mut bytes[..size]);
        put(&mut tar, &format!("padding/{number}/{}/{file}", file / FOLDER_FILES), &bytes[..size])?;
        left -= size;
    }
    tar.into_inner()
}

fn put(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) -> io::Result<()> {
    isobench_oci::layer::put(tar, path, tar::EntryType::Regular, content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use std::collections::BTreeMap;
    use std::io::Read;

    /// The files of an archive.
    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let read = |mut entry: tar::Entry<&[u8]>| {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        };
        archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    proptest! {
        #[test]
        fn the_layers_have_the_bytes_and_the_sums_that_are_said(bytes in 0usize..2_000_000, layers in 1usize..5) {
            let mut top = tar::Builder::new(Vec::new());
            put(&mut top, "agent", &[7; 700]).unwrap();
            let top = top.into_inner().unwrap();
            let before = top.len();
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let archive = files(&archive("isobench/x:y", top, Bulk { bytes, layers }, &mut rng).unwrap());
            let manifest: serde_json::Value = serde_json::from_slice(&archive["manifest.json"]).unwrap();
            let config: serde_json::Value = serde_json::from_slice(&archive["config.json"]).unwrap();
            prop_assert_eq!(&manifest[0]["RepoTags"][0], "isobench/x:y");
            let named = manifest[0]["Layers"].as_array().unwrap();
            prop_assert_eq!(named.len(), layers);
            let mut padding = 0;
            for (layer, sum) in named.iter().zip(config["rootfs"]["diff_ids"].as_array().unwrap()) {
                let layer = &archive[layer.as_str().unwrap()];
                prop_assert_eq!(sum.as_str().unwrap(), format!("sha256:{}", sha256_hex(layer)));
                let files = files(layer);
                padding += files.iter().filter(|(name, _)| *name != "agent").map(|(_, c)| c.len()).sum::<usize>();
            }
            let wanted = bytes.saturating_sub(before);
            prop_assert!(padding <= wanted && wanted - padding < layers, "{} of {}", padding, wanted);
            let last = files(&archive[named[layers - 1].as_str().unwrap()]);
            prop_assert_eq!(&last["agent"], &vec![7; 700]);
        }
    }
}
