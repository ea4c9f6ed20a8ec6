//! What is ours in a daemon, found by label and name.

use crate::api::within;
use crate::container::LABEL;
use crate::image::REPOSITORY;
use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions, RemoveContainerOptions, RemoveImageOptions};
use isobench_runner::{Cleaned, Deadline};
use std::collections::HashMap;

/// Removes the containers of processes that are gone. The daemon may be shared with other machines and namespaces: a
/// container whose owner may live there stays.
pub fn containers(docker: &Docker, deadline: Deadline) -> Cleaned {
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".into(), vec![LABEL.into()])])),
        ..Default::default()
    };
    let listed = within(deadline, "container list", docker.list_containers(Some(options))).unwrap_or_default();
    let labelled = listed.into_iter().filter_map(|container| Some((container.labels?.remove(LABEL)?, container.id?)));
    let mut cleaned = Cleaned::default();
    for (tag, id) in labelled {
        let name = &id[..id.len().min(12)];
        cleaned.judge(&format!("docker: container {name}"), &tag, &format!("docker rm -f -v {name}"), || {
            let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
            within(deadline, "container remove", docker.remove_container(&id, Some(options))).is_ok()
        });
    }
    cleaned
}

/// Removes the images of owners that are gone, and those of `own`, this process's tag at the end of its run.
pub fn images(docker: &Docker, own: Option<&str>, deadline: Deadline) -> Cleaned {
    let options = ListImagesOptions {
        filters: Some(HashMap::from([("reference".into(), vec![format!("{REPOSITORY}*")])])),
        ..Default::default()
    };
    let listed = within(deadline, "image list", docker.list_images(Some(options))).unwrap_or_default();
    let names = listed.into_iter().flat_map(|image| image.repo_tags);
    let mut cleaned = Cleaned::default();
    for name in names {
        let Some(tag) = name.strip_prefix(REPOSITORY).and_then(|rest| rest.split(':').next()) else { continue };
        let remove = || {
            let options = RemoveImageOptions { force: true, ..Default::default() };
            within(deadline, "image remove", docker.remove_image(&name, Some(options), None)).is_ok()
        };
        let thing = format!("docker: image {name}");
        if own == Some(tag) {
            cleaned.removed.extend(remove().then_some(thing));
        } else {
            cleaned.judge(&thing, tag, &format!("docker rmi {name}"), remove);
        }
    }
    cleaned
}
