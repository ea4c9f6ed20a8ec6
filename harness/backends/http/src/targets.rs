//! Which functions are deployed where: the table `[targets]`, or one URL.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Uri};
use isobench_core::Guest;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The environment variable that names a targets file, or is itself the URL of one target.
pub const TARGETS: &str = "ISOBENCH_TARGETS";

/// What stands in a URL or a command for the workload's name.
pub(crate) const WORKLOAD: &str = "{workload}";

/// Longest wait for a command that makes a function cold, unless it says otherwise: deployments take minutes.
const COMMAND_DEADLINE_S: u64 = 300;

/// A file of targets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    targets: BTreeMap<String, Target>,
}

/// A deployed function.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Where it answers POST, `http` or `https`; `{workload}` stands for the workload's name.
    pub url: String,
    /// Its guest, as a label: nothing tells what really runs there.
    #[serde(default = "native")]
    pub guest: Guest,
    /// The workloads that it answers.
    #[serde(default = "echo")]
    pub workloads: BTreeSet<String>,
    /// What makes it cold; absent where nothing does.
    #[serde(default)]
    pub cold: Option<Cold>,
    /// Only the row with connections that are kept (`true`), or only that with a connection for each call (`false`);
    /// absent for both.
    #[serde(default)]
    pub keep_alive: Option<bool>,
    /// Headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// A file of certificates (PEM) to trust instead of the system's, relative to the targets file.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Longest wait in seconds for a start, and for the first answer after it, where the workload's limits are
    /// too short for a cold start over there.
    #[serde(default)]
    pub deadline_s: Option<u64>,
}

/// What is done before the clock of a cold start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cold {
    /// A program and its arguments, run without a shell.
    #[serde(default)]
    pub command: Vec<String>,
    /// A line for `sh -c`, instead.
    #[serde(default)]
    pub shell: Option<String>,
    /// Longest wait for either, in seconds.
    #[serde(default = "command_deadline")]
    pub deadline_s: u64,
    /// Seconds to wait then without a request.
    #[serde(default)]
    pub idle_s: u64,
}

/// The value of a header.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Itself.
    Text(String),
    /// What a variable of the environment holds, so that a file need not.
    Env(FromEnv),
}

/// `{ env = "NAME" }`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromEnv {
    /// The variable.
    pub env: String,
}

/// A value may be a secret.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

fn native() -> Guest {
    Guest::Native
}

fn echo() -> BTreeSet<String> {
    ["echo".to_string()].into()
}

fn command_deadline() -> u64 {
    COMMAND_DEADLINE_S
}

/// The targets that `said` names: none where it is empty, one where it is a URL, those of a file else.
///
/// # Errors
/// What is wrong, with the file and the line or the target.
pub fn read(said: &str) -> Result<BTreeMap<String, Target>, String> {
    if said.is_empty() {
        return Ok(BTreeMap::new());
    }
    if said.starts_with("http://") || said.starts_with("https://") {
        let target: Target =
            toml::from_str(&format!("url = {}", toml::Value::from(said))).map_err(|e| e.to_string())?;
        let name = place(&target.url)?.host.replace(|c: char| !named_by(c), "-");
        return checked(BTreeMap::from([(name, target)])).map_err(|e| format!("`--target`: {e}"));
    }
    let text = std::fs::read_to_string(said).map_err(|e| format!("{said}: {e}: {TARGETS} names a file or a URL"))?;
    let mut targets = parse(&text).map_err(|e| format!("{said}{e}"))?;
    let folder = Path::new(said).parent().unwrap_or(Path::new(""));
    for ca in targets.values_mut().filter_map(|target| target.ca.as_mut()) {
        *ca = folder.join(&*ca);
    }
    Ok(targets)
}

/// The targets of a file's text.
///
/// # Errors
/// What is wrong, after `:LINE: ` or `: `, so that the file's name can stand before it.
pub fn parse(text: &str) -> Result<BTreeMap<String, Target>, String> {
    let file: File = toml::from_str(text).map_err(|e| {
        let line = text[..e.span().map_or(0, |span| span.start)].matches('\n').count() + 1;
        format!(":{line}: {}", e.message().replace('\n', " "))
    })?;
    checked(file.targets).map_err(|e| format!(": {e}"))
}

fn named_by(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

fn checked(targets: BTreeMap<String, Target>) -> Result<BTreeMap<String, Target>, String> {
    for (name, target) in &targets {
        let wrong = |what: &str| Err(format!("target `{name}`: {what}"));
        if name.is_empty() || !name.chars().all(named_by) {
            return wrong("its name is a row's: letters, digits, `-`, `_` and `.`");
        }
        if let Some(other) = name.strip_suffix("-close").filter(|other| targets.contains_key(*other)) {
            return wrong(&format!("that is the name of a row of `{other}`"));
        }
        if target.workloads.is_empty() {
            return wrong("`workloads` is empty");
        }
        if target.workloads.len() > 1 && !target.url.contains(WORKLOAD) {
            return wrong("a URL that answers several workloads has `{workload}` in it: each is a function of its own");
        }
        for workload in &target.workloads {
            target.place(workload).map_err(|e| format!("target `{name}`: {e}"))?;
        }
        if let Some(cold) = &target.cold {
            match (cold.command.is_empty(), &cold.shell, cold.idle_s) {
                (true, None, 0) => return wrong("`cold` has none of `command`, `shell` and `idle_s`"),
                (false, Some(_), _) => return wrong("`cold` has `command` and `shell`; one of them"),
                _ => {}
            }
        }
        for header in target.headers.keys() {
            HeaderName::try_from(header.as_str()).map_err(|_| format!("target `{name}`: `{header}` is no header"))?;
        }
    }
    Ok(targets)
}

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// With TLS.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What the header `host` says.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

fn place(url: &str) -> Result<Place, String> {
    let uri: Uri = url.parse().map_err(|e| format!("`url`: {e}"))?;
    let tls = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err("`url` begins with http:// or https://".into()),
    };
    let authority = uri.authority().ok_or("`url` has no host")?;
    if authority.as_str().contains('@') {
        return Err("`url` holds a password: give it as a header".into());
    }
    Ok(Place {
        tls,
        host: authority.host().trim_matches(['[', ']']).into(),
        port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        authority: authority.as_str().into(),
        path: uri.path_and_query().map_or("/", |path| path.as_str()).into(),
    })
}

impl Target {
    /// Where a workload is answered.
    pub(crate) fn place(&self, workload: &str) -> Result<Place, String> {
        place(&self.url.replace(WORKLOAD, workload))
    }

    /// The headers of its requests, but for `host`.
    pub(crate) fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let text = match value {
                Value::Text(text) => text.clone(),
                Value::Env(FromEnv { env }) => {
                    std::env::var(env).map_err(|_| format!("header `{name}`: the variable {env} is not set"))?
                }
            };
            let wrong = || format!("header `{name}`: its value is none that a header can have");
            let mut value = HeaderValue::try_from(text).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(name.as_str()).map_err(|_| wrong())?, value);
        }
        Ok(headers)
    }

    /// How much longer than a workload's limits a start and what is done before it may take, in milliseconds.
    pub(crate) fn longer_ms(&self) -> u64 {
        let before = self.cold.as_ref().map_or(0, |cold| cold.idle_s.saturating_add(cold.run_deadline_s()));
        // A start, and its first answer.
        before.saturating_add(self.deadline_s.unwrap_or(0).saturating_mul(2)).saturating_mul(1000).min(LONGEST_MS)
    }
}

/// No wait of a visit is longer than a week, whatever a file says: times past it would not fit the clock.
const LONGEST_MS: u64 = 7 * 24 * 3600 * 1000;

impl Cold {
    /// Longest wait for its command in seconds; 0 without one.
    fn run_deadline_s(&self) -> u64 {
        if self.command.is_empty() && self.shell.is_none() { 0 } else { self.deadline_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_target_that_answers_echo() {
        let targets = read("https://f.example.com:8443/run?x=1").expect("a target");
        let target = &targets["f.example.com"];
        assert_eq!((target.guest, target.keep_alive, target.longer_ms()), (Guest::Native, None, 0));
        assert_eq!(target.workloads, echo());
        let place = target.place("echo").expect("a place");
        assert_eq!((place.tls, place.host.as_str(), place.port), (true, "f.example.com", 8443));
        assert_eq!((place.authority.as_str(), place.path.as_str()), ("f.example.com:8443", "/run?x=1"));
        assert_eq!(read("http://[::1]").expect("a target")["--1"].place("echo").expect("a place").host, "::1");
        assert!(read("").expect("none").is_empty());
    }

    #[test]
    fn a_file_says_what_there_is_and_its_errors_where() {
        let text = "[targets.a]\nurl = 'https://h/{workload}'\nworkloads = ['echo', 'json']\nguest = 'js'\n\
                    cold = { shell = 'true', idle_s = 3 }\ndeadline_s = 2\n\
                    headers = { k = { env = 'SURELY_NOT_SET' } }";
        let a = &parse(text).expect("targets")["a"];
        assert_eq!(a.place("json").expect("a place").path, "/json");
        assert_eq!(a.longer_ms(), (300 + 3 + 2 * 2) * 1000);
        assert!(a.headers().expect_err("not set").contains("SURELY_NOT_SET is not set"));
        let wrong = |text: &str| parse(&format!("[targets.a]\n{text}")).expect_err("a mistake");
        assert!(wrong("url = 1").starts_with(":2: "));
        assert!(wrong("url = 'http://h'\ncolour = 1").starts_with(":3: unknown field"));
        assert!(wrong("url = 'ftp://h'").contains("begins with http"));
        assert!(wrong("url = 'https://me:secret@h'").contains("give it as a header"));
        assert!(wrong("url = 'http://h'\nworkloads = ['a', 'b']").contains("{workload}"));
        assert!(wrong("url = 'http://h'\ncold = {}").contains("none of"));
        assert!(wrong("url = 'http://h'\ncold = { command = ['x'], shell = 'x' }").contains("one of them"));
        assert!(wrong("url = 'http://h'\nheaders = { 'a b' = 'c' }").contains("is no header"));
        assert!(parse("[targets.'a/b']\nurl = 'http://h'").expect_err("a mistake").contains("a row's"));
        let twice = "[targets.a]\nurl = 'http://h'\n[targets.a-close]\nurl = 'http://h'";
        assert!(parse(twice).expect_err("a mistake").contains("a row of `a`"));
    }

    #[test]
    fn no_secret_is_printed() {
        let text = "[targets.a]\nurl = 'http://h'\nheaders = { k = 'hush' }";
        let targets = parse(text).expect("targets");
        assert!(!format!("{targets:?} {:?}", targets["a"].headers()).contains("hush"));
    }
}
