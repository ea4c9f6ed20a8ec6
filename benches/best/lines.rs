//! What is compared: a line is data.

use anyhow::{Context, Result};
use isobench_runner::place::Places;
use isobench_stats::Metric;
use std::fs;
use std::path::PathBuf;

/// A warm call that takes this much longer than in Node wants an explanation.
const EXPLAINED: f64 = 1.2;

/// One ratio: ours over theirs.
pub struct Line {
    pub metric: Metric,
    /// A cell: `backend/variant/guest/workload/case`.
    pub ours: String,
    pub theirs: Theirs,
    pub limit: Limit,
}

/// What a cell is compared with.
pub enum Theirs {
    /// Another cell.
    Cell(String),
    /// A hand of the backend's by-hand program, start by start in turn with ours in one process.
    Beside(&'static str),
    /// The same where both cannot be in one process: block by block in turn.
    Alone(&'static str),
    /// The same guest in Node, with the heap that Node chooses or with the limit that ours has.
    Node(Heap),
}

/// How much memory Node's heap may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heap {
    /// What Node chooses: gigabytes, and a young generation to match.
    Default,
    /// The workload's memory limit.
    Limited,
}

/// What the ratio may be.
pub enum Limit {
    AtMost(f64),
    /// At most that, and our median under so many nanoseconds.
    AtMostUnder(f64, f64),
    /// More than that is explained in docs/BEST.md.
    Explained(f64),
    Reported,
}

/// Every line, in the order of the table.
///
/// # Errors
/// The workloads' folder cannot be read.
pub fn all(places: &Places) -> Result<Vec<Line>> {
    let cold = |ours: &str, theirs, limit| Line { metric: Metric::ColdStart, ours: ours.into(), theirs, limit };
    let cell = |name: &str| Theirs::Cell(name.into());
    let warm = |row: &str, workload: &str, heap| Line {
        metric: Metric::WarmCall,
        ours: format!("{row}/{workload}/large"),
        theirs: Theirs::Node(heap),
        limit: Limit::Explained(EXPLAINED),
    };
    let largest = largest_script(places)?;
    let of_largest = |variant: &str| format!("v8/{variant}/js/{largest}/small");
    let mut lines = vec![
        // The ladders: what a rung saves over the one below.
        cold("v8/snapshot/js/render/small", cell("v8/fresh/js/render/small"), Limit::AtMost(0.7)),
        cold(&of_largest("code-cache"), Theirs::Cell(of_largest("fresh")), Limit::Reported),
        cold("process/zygote/native/echo/small", cell("process/spawn/native/echo/small"), Limit::AtMost(0.5)),
        cold("qemu/boot-minimal/native/echo/small", cell("qemu/boot/native/echo/small"), Limit::AtMost(0.5)),
        cold("qemu/restore/native/echo/small", cell("qemu/boot/native/echo/small"), Limit::AtMost(0.2)),
        // The best rungs: the same by hand, as its own experts set it up.
        cold("v8/snapshot/js/echo/small", Theirs::Alone("plain"), Limit::AtMost(1.1)),
        cold("wasmtime/pooling/wasm/echo/small", Theirs::Beside("tuned"), Limit::AtMostUnder(1.1, 20_000.0)),
        cold("wasmtime/pooling-resident/wasm/echo/small", Theirs::Beside("tuned"), Limit::AtMost(1.1)),
        cold("bwrap/namespaces/native/echo/small", Theirs::Beside("shell"), Limit::AtMost(1.0)),
        cold("oci/runc/native/echo/small", Theirs::Beside("shell"), Limit::AtMost(1.0)),
        cold("lxc/privileged/native/echo/small", Theirs::Beside("shell"), Limit::AtMost(1.0)),
        cold("nspawn/plain/native/echo/small", Theirs::Beside("shell"), Limit::AtMost(1.0)),
        cold("containerd/runc/native/echo/small", Theirs::Beside("shell"), Limit::AtMost(1.0)),
        cold("docker/runc/native/echo/small", Theirs::Beside("shell"), Limit::AtMost(1.0)),
        cold("qemu/boot/native/echo/small", Theirs::Beside("shell"), Limit::AtMost(1.0)),
    ];
    // The engines: the same artifact in Node.
    for workload in ["echo", "json", "render", "sha256", "nbody", "blur"] {
        for row in ["v8/fresh/js", "v8/fresh/wasm", "wasmtime/pooling/wasm"] {
            lines.push(warm(row, workload, Heap::Default));
        }
    }
    // Where a JavaScript guest makes garbage, the limit on its heap is in the ratio: the same without that difference.
    for workload in ["json", "render"] {
        lines.push(warm("v8/fresh/js", workload, Heap::Limited));
    }
    Ok(lines)
}

/// The workload whose `guest.js` is the longest.
fn largest_script(places: &Places) -> Result<String> {
    let folders = fs::read_dir(places.workloads())?.filter_map(|entry| Some(entry.ok()?.path()));
    let length = |folder: &PathBuf| fs::metadata(folder.join("guest.js")).map_or(0, |meta| meta.len());
    let largest = folders.max_by_key(length).context("no workload")?;
    Ok(largest.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

impl Line {
    /// The cells that must be there.
    pub fn cells(&self) -> impl Iterator<Item = &str> {
        let theirs = if let Theirs::Cell(name) = &self.theirs { Some(name.as_str()) } else { None };
        std::iter::once(self.ours.as_str()).chain(theirs)
    }

    /// What is compared, for people.
    pub fn what(&self) -> (String, String) {
        let rows = |name: &str| name.split('/').take(2).collect::<Vec<_>>().join("/");
        let of = self.ours.split('/').skip(2).collect::<Vec<_>>().join("/");
        let theirs = match &self.theirs {
            Theirs::Cell(name) => rows(name),
            Theirs::Beside(hand) | Theirs::Alone(hand) => format!("by hand ({hand})"),
            Theirs::Node(Heap::Default) => "Node".into(),
            Theirs::Node(Heap::Limited) => "Node (its heap limited)".into(),
        };
        (format!("{} over {theirs}", rows(&self.ours)), format!("{of}, {}", self.metric))
    }
}
