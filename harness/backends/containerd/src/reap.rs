//! What is ours in a containerd, found by label and name.

use crate::api::{ANSWER_DEADLINE, Client};
use crate::container::{LABEL, remove};
use crate::daemon::LEASE;
use crate::image::REPOSITORY;
use crate::messages::{DeleteImage, DeleteLease, ListContainers, ListImages, ListLeases};
use isobench_runner::{Deadline, owner};

/// Removes the containers of processes that are gone. Answers with a line for each.
pub fn containers(client: &Client) -> Vec<String> {
    let deadline = Deadline::after(ANSWER_DEADLINE);
    let listed = client.call(ListContainers {}, deadline).unwrap_or_default().containers;
    let gone =
        listed.into_iter().filter(|container| container.labels.get(LABEL).is_some_and(|tag| owner::is_gone(tag)));
    let removed = gone.filter(|container| remove(client, &container.id, deadline).is_ok());
    removed.map(|container| format!("containerd: removed container {}", container.id)).collect()
}

/// Removes the images of owners that are gone, and of `also`, and gives back their leases: with these goes whatever
/// was half made. Answers with a line for each.
pub fn images(client: &Client, also: Option<&str>) -> Vec<String> {
    let deadline = Deadline::after(ANSWER_DEADLINE);
    let debris = |tag: &str| also == Some(tag) || owner::is_gone(tag);
    let mut reaped = Vec::new();
    for image in client.call(ListImages {}, deadline).unwrap_or_default().images {
        let tag = image.name.strip_prefix(REPOSITORY).and_then(|rest| rest.split(':').next());
        let delete = DeleteImage { name: image.name.clone(), sync: false };
        if tag.is_some_and(debris) && client.call(delete, deadline).is_ok() {
            reaped.push(format!("containerd: removed image {}", image.name));
        }
    }
    for lease in client.call(ListLeases {}, deadline).unwrap_or_default().leases {
        let delete = DeleteLease { id: lease.id.clone(), sync: true };
        if lease.id.strip_prefix(LEASE).is_some_and(debris) && client.call(delete, deadline).is_ok() {
            reaped.push(format!("containerd: removed lease {}", lease.id));
        }
    }
    reaped
}
