//! The image: from scratch, two files and the folder where the socket appears.

use crate::api::within;
use crate::container::{AGENT, FOLDER, GUEST};
use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use futures_util::TryStreamExt;
use isobench_core::Fault;
use isobench_oci::layer::{Entry, layer};
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
    let mut entries = vec![Entry::File(AGENT, agent)];
    entries.extend(guest.map(|guest| Entry::File(GUEST, guest)));
    let folders: Vec<&str> = Path::new(FOLDER).ancestors().filter_map(Path::to_str).filter(|f| *f != "/").collect();
    entries.extend(folders.into_iter().rev().map(Entry::Folder));
    layer(&entries)
}
