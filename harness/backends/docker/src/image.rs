//! The image: from scratch, two files and the folder where the socket appears.

use crate::api::within;
use crate::container::{AGENT, FOLDER, GUEST};
use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use futures_util::TryStreamExt;
use isobench_core::Fault;
use isobench_runner::Deadline;
use std::io;
use std::path::Path;

/// Repositories of images that are ours begin with this; the owner's tag follows.
pub const REPOSITORY: &str = "isobench/";

/// Imports the image unless the daemon has it. Two blocks that race import the same content: the later one wins, and
/// nothing is lost.
pub fn ensure(
    docker: &Docker,
    name: &str,
    agent: &Path,
    guest: Option<&Path>,
    deadline: Deadline,
) -> Result<(), Fault> {
    match within(deadline, "image inspect", docker.inspect_image(name)) {
        Ok(_) => return Ok(()),
        Err(error) if error.status() == Some(404) => {}
        Err(error) => return Err(error.into()),
    }
    let files = tar_of(agent, guest).map_err(|e| Fault::backend(format!("packing the image {name}: {e}")))?;
    let (repository, tag) = name.split_once(':').expect("every image name has a tag");
    let options = CreateImageOptions {
        from_src: Some("-".into()),
        repo: Some(repository.into()),
        tag: Some(tag.into()),
        ..Default::default()
    };
    let import = docker.create_image(Some(options), Some(bollard::body_full(files.into())), None);
    within(deadline, "image import", import.try_for_each(|_| async { Ok(()) }))?;
    Ok(())
}

/// The files that every image has.
pub(crate) fn tar_of(agent: &Path, guest: Option<&Path>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    put(&mut tar, AGENT, tar::EntryType::Regular, &read(agent)?)?;
    if let Some(guest) = guest {
        put(&mut tar, GUEST, tar::EntryType::Regular, &read(guest)?)?;
    }
    // Mount points that exist need not be made in the container's own layer.
    for folder in Path::new(FOLDER).ancestors().take_while(|a| a.parent().is_some()).collect::<Vec<_>>().iter().rev() {
        put(&mut tar, &folder.to_string_lossy(), tar::EntryType::Directory, &[])?;
    }
    tar.into_inner()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

/// Nothing of the file but its content: same content, same layer.
pub(crate) fn put(tar: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path.trim_start_matches('/'), content)
}
