//! The configuration: what LXC is told of a container.

use isobench_core::Limits;
use isobench_runner::agents::AgentPackage;
use isobench_runner::cgroup::Limit;
use isobench_runner::containers::{AGENT, GUEST, Ids, PIDS, SOCKET, memory_limit};
use std::path::Path;

/// The folders of the root folder, beside its files.
pub(crate) const FOLDERS: [&str; 2] = ["proc", "dev"];

/// What is the same for every container.
const COMMON: &str = "\
# A network namespace with nothing in it but its own loopback.
lxc.net.0.type = empty
# No terminal, and no process of LXC's that would carry one's bytes.
lxc.tty.max = 0
lxc.pty.max = 0
lxc.console.path = none
lxc.rootfs.options = ro
lxc.autodev = 1
lxc.autodev.tmpfs.size = 65536
lxc.mount.auto = proc:mixed
lxc.cap.keep = none
lxc.no_new_privs = 1
";

/// The files that a container sees.
#[derive(Debug)]
pub struct Files<'a> {
    /// The folder of the empty mount points.
    pub root: &'a Path,
    /// The agent.
    pub agent: &'a Path,
    /// The prepared guest, where it is another file.
    pub guest: Option<&'a Path>,
}

/// The configuration of all containers of a deployment; [`of_one`] is what one has of its own. `cookie` is the only
/// variable of the agent's environment that is not LXC's.
pub fn config(
    files: &Files,
    package: &AgentPackage,
    limits: &Limits,
    ids: Option<Ids>,
    cookie: Option<&str>,
) -> String {
    let mut text = String::from(COMMON);
    let mut set = |key: &str, value: String| text.push_str(&format!("{key} = {value}\n"));
    set("lxc.rootfs.path", format!("dir:{}", files.root.display()));
    set(MOUNT, bind(files.agent, AGENT));
    if let Some(guest) = files.guest {
        set(MOUNT, bind(guest, GUEST));
    }
    let args = package.args(&format!("unix:{SOCKET}"), GUEST);
    set("lxc.init.cmd", format!("{AGENT} {}", args.join(" ")));
    if let Some(cookie) = cookie {
        set("lxc.environment", cookie.into());
    }
    for limit in Limit::all(memory_limit(limits), PIDS) {
        let version = if limit.v2 { "lxc.cgroup2" } else { "lxc.cgroup" };
        set(&format!("{version}.{}", limit.file), limit.value);
    }
    if let Some(Ids { uid, gid }) = ids {
        set("lxc.idmap", format!("u 0 {uid} {}", Ids::COUNT));
        set("lxc.idmap", format!("g 0 {gid} {}", Ids::COUNT));
    }
    text
}

const MOUNT: &str = "lxc.mount.entry";

/// What the container in `cgroup` that dials `socket` has of its own: settings, as `key=value`.
///
/// LXC's monitor is in a cgroup beside the container's, outside of its limits, and leaves it for another at the end.
pub(crate) fn of_one(socket: &Path, cgroup: &str, tree: &str) -> [String; 4] {
    [
        format!("{MOUNT}={}", bind(socket, SOCKET)),
        format!("lxc.cgroup.dir.container={}", payload(cgroup)),
        format!("lxc.cgroup.dir.monitor={cgroup}/monitor"),
        format!("lxc.cgroup.dir.monitor.pivot={tree}"),
    ]
}

/// The part of a container's cgroup that has the limits.
pub(crate) fn payload(cgroup: &str) -> String {
    format!("{cgroup}/payload")
}

/// A line as in `/etc/fstab`, where a blank is written as a number.
fn bind(from: &Path, to: &str) -> String {
    let mut source = from.display().to_string().replace('\\', "\\134");
    for (character, number) in [(' ', "\\040"), ('\t', "\\011"), ('\n', "\\012")] {
        source = source.replace(character, number);
    }
    format!("{source} {} none bind,ro,nosuid,nodev 0 0", to.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_does_not_end_a_path() {
        assert_eq!(bind(Path::new("/a b\\c"), "/agent"), "/a\\040b\\134c agent none bind,ro,nosuid,nodev 0 0");
    }
}
