//! What Firecracker's published description of its API (`src/firecracker/swagger/firecracker.yaml`, OpenAPI 2.0,
//! version 1.16.1) says of the requests that are sent here, in our own words: of each body every field, whether it is
//! required, its type and its bounds. The fake server refuses what does not fit, and a test checks every body that the
//! backend has.
//!
//! Not in the description, but so in the real server: an unknown field is refused, and memory must not be 0.

#[path = "openapi.rs"]
mod openapi;

pub use openapi::{Endpoint, When};
use openapi::{Field, Kind, may, must};
use serde_json::Value;

/// The version that was read.
pub const VERSION: &str = "1.16.1";

const MEMORY_BACKEND: &[Field] =
    &[must("backend_type", Kind::One(&["File", "Uffd"])), must("backend_path", Kind::Text)];

/// Every request with a body that the backend knows.
pub const ENDPOINTS: [Endpoint; 7] = [
    Endpoint {
        method: "PUT",
        path: "/machine-config",
        when: When::PreBoot,
        fields: &[
            must("vcpu_count", Kind::Integer(1, 32)),
            must("mem_size_mib", Kind::Integer(1, u64::MAX)),
            may("smt", Kind::Boolean),
            may("track_dirty_pages", Kind::Boolean),
            may("huge_pages", Kind::One(&["None", "2M"])),
            may("cpu_template", Kind::One(&["C3", "T2", "T2S", "T2CL", "T2A", "V1N1", "None"])),
        ],
    },
    Endpoint {
        method: "PUT",
        path: "/boot-source",
        when: When::PreBoot,
        fields: &[must("kernel_image_path", Kind::Text), may("initrd_path", Kind::Text), may("boot_args", Kind::Text)],
    },
    Endpoint {
        method: "PUT",
        path: "/vsock",
        when: When::PreBoot,
        fields: &[
            must("guest_cid", Kind::Integer(3, u32::MAX as u64)),
            must("uds_path", Kind::Text),
            may("vsock_id", Kind::Text),
        ],
    },
    Endpoint {
        method: "PUT",
        path: "/actions",
        when: When::PreBoot,
        fields: &[must("action_type", Kind::One(&["FlushMetrics", "InstanceStart", "SendCtrlAltDel"]))],
    },
    Endpoint {
        method: "PATCH",
        path: "/vm",
        when: When::PostBoot,
        fields: &[must("state", Kind::One(&["Paused", "Resumed"]))],
    },
    Endpoint {
        method: "PUT",
        path: "/snapshot/create",
        when: When::PostBoot,
        fields: &[
            must("mem_file_path", Kind::Text),
            must("snapshot_path", Kind::Text),
            may("snapshot_type", Kind::One(&["Full", "Diff"])),
        ],
    },
    Endpoint {
        method: "PUT",
        path: "/snapshot/load",
        when: When::PreBoot,
        fields: &[
            must("snapshot_path", Kind::Text),
            may("mem_backend", Kind::Object(MEMORY_BACKEND)),
            may("mem_file_path", Kind::Text),
            may("enable_diff_snapshots", Kind::Boolean),
            may("track_dirty_pages", Kind::Boolean),
            may("resume_vm", Kind::Boolean),
            may("network_overrides", Kind::Unused),
            may("vsock_override", Kind::Unused),
            may("clock_realtime", Kind::Boolean),
        ],
    },
];

/// The request of that method and path.
pub fn endpoint(method: &str, path: &str) -> Option<&'static Endpoint> {
    const ALL: &[Endpoint] = &ENDPOINTS;
    ALL.iter().find(|endpoint| endpoint.method == method && endpoint.path == path)
}

/// What is wrong with a body.
pub fn check(endpoint: &Endpoint, body: &Value) -> Result<(), String> {
    endpoint.check(body)?;
    // "Exactly one of the two `mem_*` fields must be present in the body of the request."
    let has = |name| body.get(name).is_some();
    match (endpoint.path, has("mem_backend"), has("mem_file_path")) {
        ("/snapshot/load", true, true) => {
            Err("too many fields: either `mem_backend` or `mem_file_path` exclusively is required".into())
        }
        ("/snapshot/load", false, false) => {
            Err("missing field: either `mem_backend` or `mem_file_path` is required".into())
        }
        _ => Ok(()),
    }
}
