//! Where a daemon listens: the one that the user names, else where one usually does.

use isobench_core::sha256_hex;
use isobench_runner::chosen::Listener;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where Docker listens on most machines.
const DEFAULT: &str = "/var/run/docker.sock";

/// The socket of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its path.
    pub path: PathBuf,
    /// What names it, if the user chose it. Then no other daemon stands in for it.
    pub named_by: Option<String>,
}

/// Why no socket is there to be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSocket {
    /// The user names a daemon on another machine.
    #[error("{by} ({host}) is remote: its containers cannot reach a socket on this machine; {remedy}")]
    Remote {
        /// What names it.
        by: String,
        /// Its address.
        host: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The user names a Docker context that cannot be read.
    #[error("{by} has no endpoint in {}: `docker context use default` leaves it", meta.display())]
    NoEndpoint {
        /// What names it.
        by: String,
        /// The file that was to hold the endpoint.
        meta: PathBuf,
    },
    /// The user names none, and no process can be reached at the usual sockets.
    #[error("no daemon listens at {DEFAULT} or where Podman and rootless Docker do{tried}")]
    NothingListens {
        /// The sockets that exist and why each is of no use.
        tried: String,
    },
}

/// Finds the socket: `DOCKER_HOST`, the Docker context that the user has chosen, or the first of the usual ones of Docker
/// and Podman at which a process listens.
///
/// # Errors
/// Returns an error if the user names a daemon that is remote, or a context that cannot be read, or if the user names
/// none and no process listens.
pub fn find() -> Result<Socket, NoSocket> {
    let set = |variable: &str| env::var(variable).ok().filter(|value| !value.is_empty());
    if let Some(host) = set("DOCKER_HOST") {
        let remedy = "set DOCKER_HOST to `unix://` and the path of a local daemon's socket, or unset it";
        return local(host, "DOCKER_HOST".into(), remedy);
    }
    let config = set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(Path::new(&set("HOME")?).join(".docker")));
    if let Some(named) = config.and_then(|config| of_context(&config, set("DOCKER_CONTEXT"))) {
        return named;
    }
    first_that_listens(usual(set("XDG_RUNTIME_DIR").as_deref().map(Path::new)))
}

/// A socket's file can outlive its daemon, and another user's socket can be out of reach: the next one is tried then.
fn first_that_listens(paths: Vec<PathBuf>) -> Result<Socket, NoSocket> {
    let mut tried = String::new();
    for path in paths {
        match Listener::at(&path) {
            Ok(_) => return Ok(Socket { path, named_by: None }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tried.push_str(&format!("; {}: {error}", path.display())),
        }
    }
    Err(NoSocket::NothingListens { tried })
}

/// Where Docker and Podman listen unless they are told otherwise: for all users, then for this one.
fn usual(runtime: Option<&Path>) -> Vec<PathBuf> {
    let of_user = |name: &str| runtime.map(|folder| folder.join(name));
    let all = [Some(DEFAULT.into()), of_user("docker.sock"), of_user("podman/podman.sock")];
    all.into_iter().flatten().chain(["/run/podman/podman.sock".into()]).collect()
}

/// The endpoint of a context, as `docker context use` writes it down
/// (<https://docs.docker.com/engine/manage-resources/contexts/>). `None` for the default context.
fn of_context(config: &Path, named: Option<String>) -> Option<Result<Socket, NoSocket>> {
    let read = |path: &Path| serde_json::from_slice::<serde_json::Value>(&fs::read(path).ok()?).ok();
    let current = || read(&config.join("config.json"))?["currentContext"].as_str().map(String::from);
    let name = named.or_else(current).filter(|name| !name.is_empty() && name != "default")?;
    let meta = config.join("contexts/meta").join(sha256_hex(name.as_bytes())).join("meta.json");
    let host = read(&meta).and_then(|meta| meta["Endpoints"]["docker"]["Host"].as_str().map(String::from));
    let by = format!("the Docker context `{name}`");
    Some(match host {
        Some(host) => local(host, by, "`docker context use default` leaves it"),
        None => Err(NoSocket::NoEndpoint { by, meta }),
    })
}

fn local(host: String, by: String, remedy: &'static str) -> Result<Socket, NoSocket> {
    match host.strip_prefix("unix://") {
        Some(path) => Ok(Socket { path: path.into(), named_by: Some(by) }),
        None => Err(NoSocket::Remote { by, host, remedy }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A folder as `docker context create` fills it.
    fn config(name: &str, host: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join("contexts/meta").join(sha256_hex(name.as_bytes()));
        fs::create_dir_all(&meta).unwrap();
        let text = serde_json::json!({ "Name": name, "Endpoints": { "docker": { "Host": host } } });
        fs::write(meta.join("meta.json"), text.to_string()).unwrap();
        fs::write(dir.path().join("config.json"), serde_json::json!({ "currentContext": name }).to_string()).unwrap();
        dir
    }

    #[test]
    fn a_chosen_context_names_the_daemon() {
        let dir = config("mine", "unix:///run/user/7/docker.sock");
        let socket = of_context(dir.path(), None).unwrap().unwrap();
        assert_eq!(socket.path, Path::new("/run/user/7/docker.sock"));
        assert_eq!(socket.named_by.as_deref(), Some("the Docker context `mine`"));
        assert_eq!(of_context(dir.path(), Some("default".into())), None);
        assert!(
            of_context(dir.path(), Some("other".into())).unwrap().unwrap_err().to_string().contains("has no endpoint")
        );
        let remote = config("far", "ssh://host");
        let error = of_context(remote.path(), None).unwrap().unwrap_err().to_string();
        assert!(error.contains("the Docker context `far` (ssh://host) is remote"), "{error}");
        assert!(error.contains("docker context use default") && !error.contains('\n'), "{error}");
        assert_eq!(of_context(tempfile::tempdir().unwrap().path(), None), None);
    }

    #[test]
    fn the_usual_places_are_those_of_all_users_first() {
        let places = usual(Some(Path::new("/run/user/7")));
        assert_eq!(places[0], Path::new("/var/run/docker.sock"));
        assert!(
            places.contains(&"/run/user/7/docker.sock".into()) && places.contains(&"/run/podman/podman.sock".into())
        );
        assert_eq!(usual(None).len(), 2);
    }

    #[test]
    fn a_socket_that_nobody_listens_at_does_not_hide_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        drop(UnixListener::bind(at("stale")).unwrap());
        fs::write(at("file"), "").unwrap();
        let dead = vec![at("missing"), at("stale"), at("file")];
        let error = first_that_listens(dead.clone()).unwrap_err().to_string();
        assert!(error.contains("stale: Connection refused") && !error.contains("missing"), "{error}");
        let _listener = UnixListener::bind(at("live")).unwrap();
        let all = dead.into_iter().chain([at("live")]).collect();
        assert_eq!(first_that_listens(all), Ok(Socket { path: at("live"), named_by: None }));
    }
}
