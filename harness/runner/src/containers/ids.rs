//! Whose users those of a container with a user namespace are on the host.

use isobench_core::Fault;
use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

/// The first of the range where nobody has given root one: what Debian's `useradd` gives the first user.
const FIRST: u32 = 100_000;

/// The host's ids of a container's root. The ids after them are the container's others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Ids {
    /// How many a container has: all that a 16-bit id can name.
    pub const COUNT: u32 = 65_536;

    /// The ranges that `/etc/subuid` and `/etc/subgid` give root. Where newuidmap is installed, LXC takes no others.
    pub fn of_root() -> Ids {
        let first = |file| fs::read_to_string(file).ok().and_then(|text| given(&text)).unwrap_or(FIRST);
        Ids { uid: first("/etc/subuid"), gid: first("/etc/subgid") }
    }

    /// Gives a container's root a socket: without capabilities it may only dial one that is its own.
    ///
    /// # Errors
    /// The fault of a socket that stays ours.
    pub fn give(self, socket: &Path) -> Result<(), Fault> {
        let Ids { uid, gid } = self;
        chown(socket, Some(uid), Some(gid))
            .map_err(|e| Fault::backend(format!("{} cannot be user {uid}'s: {e}", socket.display())))
    }
}

/// The first id of root's first range that is long enough, from lines `user:first:count`.
fn given(text: &str) -> Option<u32> {
    let range = |line: &str| {
        let mut fields = line.split(':');
        let (user, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let (first, count): (u32, u32) = (first.parse().ok()?, count.trim().parse().ok()?);
        (["root", "0"].contains(&user) && count >= Ids::COUNT).then_some(first)
    };
    text.lines().find_map(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_range_of_root_is_taken() {
        assert_eq!(given("ann:100000:65536\nroot:5000:10\nroot:300000:65536\n"), Some(300_000));
        assert_eq!(given("ann:100000:65536\n\nnonsense\n"), None);
    }
}
