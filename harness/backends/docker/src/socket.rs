//! Where a daemon listens: the one that the user names, else where one usually does.

use isobench_core::sha256_hex;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// The socket of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its path.
    pub path: PathBuf,
    /// What names it, if the user chose it. Then no other daemon stands in for it.
    pub named_by: Option<String>,
}

/// Finds the socket: `DOCKER_HOST`, the Docker context that the user has chosen, or the first that exists of the usual
/// ones of Docker and Podman. `None` if no such socket exists.
///
/// # Errors
/// Returns an error if the user names a daemon that is remote, or a context that cannot be read.
pub fn find() -> Result<Option<Socket>, String> {
    let set = |variable: &str| env::var(variable).ok().filter(|value| !value.is_empty());
    if let Some(host) = set("DOCKER_HOST") {
        return local(&host, &format!("DOCKER_HOST={host}")).map(Some);
    }
    let config = set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(Path::new(&set("HOME")?).join(".docker")));
    if let Some(named) = config.and_then(|config| of_context(&config, set("DOCKER_CONTEXT"))) {
        return named.map(Some);
    }
    let usual = usual(set("XDG_RUNTIME_DIR").as_deref().map(Path::new));
    Ok(usual.into_iter().find(|path| path.exists()).map(|path| Socket { path, named_by: None }))
}

/// Where Docker and Podman listen unless they are told otherwise: for all users, then for this one.
fn usual(runtime: Option<&Path>) -> Vec<PathBuf> {
    let of_user = |name: &str| runtime.map(|folder| folder.join(name));
    let all = [Some("/var/run/docker.sock".into()), of_user("docker.sock"), of_user("podman/podman.sock")];
    all.into_iter().flatten().chain(["/run/podman/podman.sock".into()]).collect()
}

/// The endpoint of a context, as `docker context use` writes it down
/// (<https://docs.docker.com/engine/manage-resources/contexts/>). `None` for the default context.
fn of_context(config: &Path, named: Option<String>) -> Option<Result<Socket, String>> {
    let read = |path: &Path| serde_json::from_slice::<serde_json::Value>(&fs::read(path).ok()?).ok();
    let current = || read(&config.join("config.json"))?["currentContext"].as_str().map(String::from);
    let name = named.or_else(current).filter(|name| !name.is_empty() && name != "default")?;
    let meta = config.join("contexts/meta").join(sha256_hex(name.as_bytes())).join("meta.json");
    let host = read(&meta).and_then(|meta| meta["Endpoints"]["docker"]["Host"].as_str().map(String::from));
    let by = format!("the Docker context `{name}`");
    Some(match host {
        Some(host) => local(&host, &by),
        None => Err(format!("{by} has no endpoint in {}: `docker context use default` leaves it", meta.display())),
    })
}

fn local(host: &str, by: &str) -> Result<Socket, String> {
    match host.strip_prefix("unix://") {
        Some(path) => Ok(Socket { path: path.into(), named_by: Some(by.into()) }),
        None => Err(format!("{by} ({host}) is remote: its containers cannot reach a socket on this machine")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(of_context(dir.path(), Some("other".into())).unwrap().unwrap_err().contains("has no endpoint"));
        let remote = config("far", "ssh://host");
        assert!(of_context(remote.path(), None).unwrap().unwrap_err().contains("is remote"));
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
}
