//! What Firecracker's published description of its API (`src/firecracker/swagger/firecracker.yaml`, OpenAPI 2.0,
//! version 1.16.1) says of the requests that are sent here, in our own words: of each body every field, whether it is
//! required, its type and its bounds. The fake server refuses what does not fit, and a test checks every body that the
//! backend has.
//!
//! Not in the description, but so in the real server: an unknown field is refused, and memory must not be 0.

use serde_json::{Map, Value};

/// The version that was read.
pub const VERSION: &str = "1.16.1";

/// When a request is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the machine is started.
    PreBoot,
    /// While there is one.
    PostBoot,
}

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Text,
    Boolean,
    Integer(u64, u64),
    One(&'static [&'static str]),
    Object(&'static [Field]),
    /// A list or an object that nothing here sends.
    Unused,
}

/// A field of a body.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    required: bool,
    kind: Kind,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    pub method: &'static str,
    pub path: &'static str,
    pub when: When,
    pub fields: &'static [Field],
}

const fn must(name: &'static str, kind: Kind) -> Field {
    Field { name, required: true, kind }
}

const fn may(name: &'static str, kind: Kind) -> Field {
    Field { name, required: false, kind }
}

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

impl Endpoint {
    /// What is wrong with a body.
    pub fn check(&self, body: &Value) -> Result<(), String> {
        let fields = body.as_object().ok_or("invalid type: expected a map")?;
        check_fields(self.fields, fields)?;
        // "Exactly one of the two `mem_*` fields must be present in the body of the request."
        match (self.path, fields.contains_key("mem_backend"), fields.contains_key("mem_file_path")) {
            ("/snapshot/load", true, true) => {
                Err("too many fields: either `mem_backend` or `mem_file_path` exclusively is required".into())
            }
            ("/snapshot/load", false, false) => {
                Err("missing field: either `mem_backend` or `mem_file_path` is required".into())
            }
            _ => Ok(()),
        }
    }
}

fn check_fields(known: &[Field], body: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in body {
        let field = known.iter().find(|field| field.name == name);
        let field = field.ok_or_else(|| format!("unknown field `{name}`"))?;
        check_value(field.kind, value).map_err(|why| format!("{name}: {why}"))?;
    }
    match known.iter().find(|field| field.required && !body.contains_key(field.name)) {
        Some(missing) => Err(format!("missing field `{}`", missing.name)),
        None => Ok(()),
    }
}

fn check_value(kind: Kind, value: &Value) -> Result<(), String> {
    match kind {
        Kind::Text if value.is_string() => Ok(()),
        Kind::Boolean if value.is_boolean() => Ok(()),
        Kind::Integer(least, most) => match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(()),
            Some(number) => Err(format!("invalid value: {number} is not from {least} to {most}")),
            None => Err(format!("invalid type: {value}, expected an integer")),
        },
        Kind::One(of) => match value.as_str() {
            Some(text) if of.contains(&text) => Ok(()),
            Some(text) => Err(format!("unknown variant `{text}`, expected one of {of:?}")),
            None => Err(format!("invalid type: {value}, expected a string")),
        },
        Kind::Object(known) => check_fields(known, value.as_object().ok_or("invalid type: expected a map")?),
        Kind::Unused => Err("nothing here is to send it".into()),
        Kind::Text | Kind::Boolean => Err(format!("invalid type: {value}")),
    }
}
