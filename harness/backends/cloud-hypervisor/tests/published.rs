//! What Cloud Hypervisor's published description of its API (`vmm/src/api/openapi/cloud-hypervisor.yaml`, OpenAPI 3.0,
//! version 53) says of the requests that are sent here, in our own words: of each body every field that is used and
//! some that are not, whether it is required, its type and its bounds. The fake server refuses what does not fit, and a test
//! checks every body that the backend has.
//!
//! Stricter than the real server, which takes an unknown field without a word: one here would be a mistake.

#[path = "../../firecracker/tests/openapi.rs"]
mod openapi;

pub use openapi::{Endpoint, When};
use openapi::{Field, Kind, may, must};

/// The version that was read.
pub const VERSION: &str = "53.0";

const CPUS: &[Field] = &[
    must("boot_vcpus", Kind::Integer(1, u32::MAX as u64)),
    must("max_vcpus", Kind::Integer(1, u32::MAX as u64)),
    may("kvm_hyperv", Kind::Boolean),
    may("nested", Kind::Boolean),
];

const MEMORY: &[Field] = &[
    must("size", Kind::Integer(0, i64::MAX as u64)),
    may("shared", Kind::Boolean),
    may("hugepages", Kind::Boolean),
    may("prefault", Kind::Boolean),
];

const PAYLOAD: &[Field] = &[
    may("firmware", Kind::Unused),
    may("kernel", Kind::Text),
    may("cmdline", Kind::Text),
    may("initramfs", Kind::Text),
];

const CONSOLE: &[Field] = &[
    must("mode", Kind::One(&["Off", "Pty", "Tty", "File", "Socket", "Null"])),
    may("file", Kind::Text),
    may("socket", Kind::Text),
];

const VSOCK: &[Field] = &[must("cid", Kind::Integer(3, i64::MAX as u64)), must("socket", Kind::Text)];

/// Every request that the backend knows; those without fields have no body.
pub const ENDPOINTS: [Endpoint; 6] = [
    Endpoint {
        method: "PUT",
        path: "/api/v1/vm.create",
        when: When::PreBoot,
        fields: &[
            must("payload", Kind::Object(PAYLOAD)),
            may("cpus", Kind::Object(CPUS)),
            may("memory", Kind::Object(MEMORY)),
            may("serial", Kind::Object(CONSOLE)),
            may("console", Kind::Object(CONSOLE)),
            may("vsock", Kind::Object(VSOCK)),
        ],
    },
    Endpoint { method: "PUT", path: "/api/v1/vm.boot", when: When::PreBoot, fields: &[] },
    Endpoint { method: "PUT", path: "/api/v1/vm.pause", when: When::PostBoot, fields: &[] },
    Endpoint { method: "PUT", path: "/api/v1/vm.resume", when: When::PostBoot, fields: &[] },
    Endpoint {
        method: "PUT",
        path: "/api/v1/vm.snapshot",
        when: When::PostBoot,
        fields: &[may("destination_url", Kind::Text)],
    },
    Endpoint {
        method: "PUT",
        path: "/api/v1/vm.restore",
        when: When::PreBoot,
        fields: &[
            must("source_url", Kind::Text),
            may("prefault", Kind::Boolean),
            may("memory_restore_mode", Kind::One(&["Copy", "OnDemand"])),
            may("resume", Kind::Boolean),
        ],
    },
];

/// The request of that method and path.
pub fn endpoint(method: &str, path: &str) -> Option<&'static Endpoint> {
    const ALL: &[Endpoint] = &ENDPOINTS;
    ALL.iter().find(|endpoint| endpoint.method == method && endpoint.path == path)
}
