//! The parameters an agent is started with.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const USAGE: &str = "usage: AGENT --connect unix:PATH|port:NAME|vsock:PORT [--guest PATH] [--memory BYTES] \
[--frame BYTES] [--deadline-ms N] [--zygote]\nThis program is started by isobench inside a boundary; see `isobench --help`.";

/// Where the host listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connect {
    /// A Unix socket, `unix:PATH`.
    Unix(PathBuf),
    /// A virtio-serial port by its name, `port:NAME`.
    Port(String),
    /// A port of the machine's host over a vsock, `vsock:PORT`.
    Vsock(u32),
}

impl fmt::Display for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Port(name) => write!(f, "port:{name}"),
            Self::Vsock(port) => write!(f, "vsock:{port}"),
        }
    }
}

/// An agent's parameters. The defaults are those of a workload that sets no limits; the host passes every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// `--connect`: where the host listens.
    pub connect: Connect,
    /// `--guest`: the guest's file, for agents that hold an engine and not the guest itself.
    pub guest: Option<PathBuf>,
    /// `--memory`: the guest's memory limit in bytes, 64 MiB if not given.
    pub memory: u64,
    /// `--frame`: the longest request and the longest answer in bytes, 16 MiB if not given.
    pub frame: usize,
    /// `--deadline-ms`: how long one call may take, 2 s if not given. An engine that can't interrupt its guest leaves
    /// this to the host, which ends the boundary.
    pub deadline: Duration,
    /// `--zygote`: answer with copies of the agent, see `zygote.rs`. Linux only.
    pub zygote: bool,
}

impl Args {
    /// Reads the parameters (without the program's name).
    ///
    /// # Errors
    /// A sentence that names the parameter and what is wrong with it.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut connect = None;
        let mut rest = Self {
            connect: Connect::Port(String::new()),
            guest: None,
            memory: 64 << 20,
            frame: 16 << 20,
            deadline: Duration::from_secs(2),
            zygote: false,
        };
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            let flag = flag.to_string_lossy().into_owned();
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--connect" => connect = Some(parse_connect(&value()?)?),
                "--guest" => rest.guest = Some(value()?.into()),
                "--memory" => rest.memory = parse_number(&flag, &value()?)?,
                "--frame" => rest.frame = parse_number(&flag, &value()?)?,
                "--deadline-ms" => rest.deadline = Duration::from_millis(parse_number(&flag, &value()?)?),
                "--zygote" => rest.zygote = true,
                _ => return Err(format!("unknown argument {flag:?}")),
            }
        }
        Ok(Self { connect: connect.ok_or("--connect is missing: the host's address")?, ..rest })
    }
}

pub(super) fn parse_connect(text: &OsStr) -> Result<Connect, String> {
    let bytes = text.as_bytes();
    if let Some(path) = bytes.strip_prefix(b"unix:") {
        return Ok(Connect::Unix(OsStr::from_bytes(path).into()));
    }
    let (kind, name) = text.to_str().and_then(|text| text.split_once(':')).unwrap_or_default();
    match (kind, name.parse()) {
        ("port", _) => Ok(Connect::Port(name.into())),
        ("vsock", Ok(port)) => Ok(Connect::Vsock(port)),
        _ => Err(format!("--connect {text:?}: neither unix:PATH nor port:NAME nor vsock:PORT")),
    }
}

fn parse_number<T: std::str::FromStr>(flag: &str, text: &OsStr) -> Result<T, String> {
    text.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| format!("{flag} {text:?}: not a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn every_parameter_is_read() {
        let args = parse("--connect port:isobench --guest /g --memory 1 --frame 2 --deadline-ms 3 --zygote").unwrap();
        let expected = Args {
            connect: Connect::Port("isobench".into()),
            guest: Some("/g".into()),
            memory: 1,
            frame: 2,
            deadline: Duration::from_millis(3),
            zygote: true,
        };
        assert_eq!(args, expected);
        assert_eq!(parse("--connect unix:/a/b").unwrap().connect, Connect::Unix("/a/b".into()));
        assert_eq!(parse("--connect vsock:52").unwrap().connect, Connect::Vsock(52));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(parse("").unwrap_err(), "--connect is missing: the host's address");
        assert_eq!(parse("--verbose").unwrap_err(), "unknown argument \"--verbose\"");
        assert_eq!(parse("--memory").unwrap_err(), "--memory needs a value");
        assert_eq!(parse("--memory 64M").unwrap_err(), "--memory \"64M\": not a whole number");
        let unknown = parse("--connect tcp:1").unwrap_err();
        assert_eq!(unknown, "--connect \"tcp:1\": neither unix:PATH nor port:NAME nor vsock:PORT");
        assert!(parse("--connect vsock:many").unwrap_err().contains("nor vsock:PORT"));
    }
}
