//! What is ours in a daemon, found by label and name.

use crate::api::{ANSWER_DEADLINE, within};
use crate::container::LABEL;
use crate::image::REPOSITORY;
use bollard::Docker;
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions, RemoveContainerOptions, RemoveImageOptions};
use isobench_runner::{Deadline, owner};
use std::collections::HashMap;

/// Removes the containers of processes that are gone. Answers with a line for each.
pub fn containers(docker: &Docker) -> Vec<String> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".into(), vec![LABEL.into()])])),
        ..Default::default()
    };
    let deadline = Deadline::after(ANSWER_DEADLINE);
    let listed = within(deadline, "container list", docker.list_containers(Some(options))).unwrap_or_default();
    let gone = listed.into_iter().filter_map(|container| {
        let tag = container.labels?.remove(LABEL)?;
        owner::is_gone(&tag).then_some(container.id?)
    });
    let remove = |id: String| {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        let removed = within(deadline, "container remove", docker.remove_container(&id, Some(options)));
        removed.is_ok().then(|| format!("docker: removed container {}", &id[..id.len().min(12)]))
    };
    gone.filter_map(remove).collect()
}

/// Removes the images of owners that are gone, and of `also`. Answers with a line for each.
pub fn images(docker: &Docker, also: Option<&str>) -> Vec<String> {
    let options = ListImagesOptions {
        filters: Some(HashMap::from([("reference".into(), vec![format!("{REPOSITORY}*")])])),
        ..Default::default()
    };
    let deadline = Deadline::after(ANSWER_DEADLINE);
    let listed = within(deadline, "image list", docker.list_images(Some(options))).unwrap_or_default();
    let names = listed.into_iter().flat_map(|image| image.repo_tags);
    let debris = names.filter(|name| {
        let tag = name.strip_prefix(REPOSITORY).and_then(|rest| rest.split(':').next());
        tag.is_some_and(|tag| also == Some(tag) || owner::is_gone(tag))
    });
    let remove = |name: String| {
        let options = RemoveImageOptions { force: true, ..Default::default() };
        let removed = within(deadline, "image remove", docker.remove_image(&name, Some(options), None));
        removed.is_ok().then(|| format!("docker: removed image {name}"))
    };
    debris.filter_map(remove).collect()
}
