//! Why a container of a daemon that is not ours cannot start or reach our socket: by the daemon's words, and by what it
//! says of its own security.

use std::path::Path;

/// Returns the cause with its remedy. `words` are the daemon's, `security` are the security options of its `info`, and
/// `state` is the folder of our sockets.
pub fn of(words: &str, security: &[String], state: &Path) -> String {
    // `name=userns`, `name=seccomp,profile=default`.
    let has = |option: &str| security.iter().any(|found| found.split(',').any(|part| part == option));
    if words.contains("bind source path does not exist") {
        return format!(
            "the daemon does not see {}: it is a Snap, or a service with PrivateTmp, or isobench is; set ISOBENCH_STATE \
             to a folder that both see",
            state.display()
        );
    }
    let cause = if words.contains("setting rlimit") {
        "the daemon gives its containers limits (`default-ulimits` in daemon.json) above the hard limits of its own \
         process: lower them, or start the daemon with higher limits (systemd: LimitNOFILE)"
    } else if has("name=userns") {
        "the daemon runs with userns-remap: root of its containers is another user on this machine, which may not enter \
         the folder of our sockets; use a daemon without userns-remap"
    } else if has("name=rootless") {
        "the daemon is rootless: root of its containers is the daemon's user; run isobench as that user"
    } else if has("name=selinux") {
        "the daemon uses SELinux, which may keep its containers from our socket: `ausearch -m avc` lists denials"
    } else {
        "Docker Desktop, or a daemon on another machine, keeps it from our socket"
    };
    cause.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemons_failure_is_named_by_its_words_or_by_its_security() {
        let rlimit = "container start: the daemon refused (500): error setting rlimits for ready process: error setting \
                      rlimit type 7: operation not permitted";
        let unseen = "container create: the daemon refused (400): bind source path does not exist: /tmp/s/p-docker/0";
        let silent = "the agent ended with exit code 1 before its time";
        let seccomp = "name=seccomp,profile=default";
        for (words, security, expected) in [
            (rlimit, "name=userns", "default-ulimits"),
            (unseen, seccomp, "does not see /tmp/s: it is a Snap, or a service with PrivateTmp"),
            (silent, "name=userns", "userns-remap"),
            (silent, "name=rootless", "rootless"),
            (silent, "name=selinux", "SELinux"),
            (silent, seccomp, "Docker Desktop"),
        ] {
            let cause = of(words, &[seccomp.into(), security.into()], Path::new("/tmp/s"));
            assert!(cause.contains(expected), "{cause}");
        }
    }
}
