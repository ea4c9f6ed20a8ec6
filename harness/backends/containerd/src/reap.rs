//! What is ours in a containerd, found by label and name.

use crate::api::{Client, NAMESPACE};
use crate::container::{LABEL, remove};
use crate::daemon::LEASE;
use crate::image::REPOSITORY;
use crate::messages::{DeleteImage, DeleteLease, ListContainers, ListImages, ListLeases};
use isobench_runner::{Cleaned, Deadline};

/// Removes the containers of processes that are gone. The daemon may be shared with other machines and namespaces: a
/// container whose owner may live there stays.
pub fn containers(client: &Client, deadline: Deadline) -> Cleaned {
    let listed = client.call(ListContainers {}, deadline).unwrap_or_default().containers;
    let mut cleaned = Cleaned::default();
    for container in listed {
        let (id, Some(tag)) = (&container.id, container.labels.get(LABEL)) else { continue };
        let remedy = format!("ctr --namespace {NAMESPACE} containers delete {id}");
        cleaned.judge(&format!("containerd: container {id}"), tag, &remedy, || remove(client, id, deadline).is_ok());
    }
    cleaned
}

/// Removes the images of owners that are gone, and those of `own`, this process's tag at the end of its run; then gives
/// back their leases, and with these everything half made.
pub fn images(client: &Client, own: Option<&str>, deadline: Deadline) -> Cleaned {
    let mut cleaned = Cleaned::default();
    let mut judge = |thing: String, tag: &str, remedy: String, remove: &dyn Fn() -> bool| {
        if own == Some(tag) {
            cleaned.removed.extend(remove().then_some(thing));
        } else {
            cleaned.judge(&thing, tag, &remedy, remove);
        }
    };
    for image in client.call(ListImages {}, deadline).unwrap_or_default().images {
        let name = image.name;
        let Some(tag) = name.strip_prefix(REPOSITORY).and_then(|rest| rest.split(':').next()) else { continue };
        let remedy = format!("ctr --namespace {NAMESPACE} images remove {name}");
        judge(format!("containerd: image {name}"), tag, remedy, &|| {
            client.call(DeleteImage { name: name.clone(), sync: false }, deadline).is_ok()
        });
    }
    for lease in client.call(ListLeases {}, deadline).unwrap_or_default().leases {
        let id = lease.id;
        let Some(tag) = id.strip_prefix(LEASE) else { continue };
        let remedy = format!("ctr --namespace {NAMESPACE} leases delete {id}");
        judge(format!("containerd: lease {id}"), tag, remedy, &|| {
            client.call(DeleteLease { id: id.clone(), sync: true }, deadline).is_ok()
        });
    }
    cleaned
}
