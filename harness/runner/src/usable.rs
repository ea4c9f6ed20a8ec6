//! Paths that a tool cannot take. They are refused in one line that names path, character and remedy, before the tool
//! fails in words of its own.

use std::path::{Path, PathBuf};

/// What to do about the cache.
pub const CACHE_REMEDY: &str = "set ISOBENCH_CACHE to a folder without it, for example /var/tmp/isobench-cache";
/// What to do about the state folder.
pub const STATE_REMEDY: &str = "set ISOBENCH_STATE to a folder without it, for example /tmp/ib";

/// A path that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} contains {character}, which {tool} cannot take in a path: {remedy}")]
pub struct Unusable {
    path: PathBuf,
    character: String,
    tool: &'static str,
    remedy: &'static str,
}

/// Checks that a path can be written into requests, records and command lines: UTF-8 without control characters.
///
/// # Errors
/// Returns an error that names the first byte or character that cannot.
pub fn plain(path: &Path, remedy: &'static str) -> Result<(), Unusable> {
    let character = match std::str::from_utf8(path.as_os_str().as_encoded_bytes()) {
        Ok(text) => text.chars().find(|character| character.is_control()).map(|character| format!("{character:?}")),
        Err(error) => {
            let byte = path.as_os_str().as_encoded_bytes()[error.valid_up_to()];
            Some(format!("the byte 0x{byte:02x} (not UTF-8)"))
        }
    };
    let tool = "isobench";
    character.map_or(Ok(()), |character| Err(Unusable { path: path.into(), character, tool, remedy }))
}

/// Checks that a path has none of the characters to which `tool` gives a meaning.
///
/// # Errors
/// Returns an error that names the first one.
pub fn without(path: &Path, characters: &str, tool: &'static str, remedy: &'static str) -> Result<(), Unusable> {
    let text = path.to_string_lossy();
    let found = text.chars().find(|&character| characters.contains(character));
    let unusable = |character| Unusable { path: path.into(), character: format!("{character:?}"), tool, remedy };
    found.map_or(Ok(()), |character| Err(unusable(character)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_refusal_is_one_line_with_path_character_and_remedy() {
        let of = |bytes: &'static [u8]| plain(Path::new(OsStr::from_bytes(bytes)), STATE_REMEDY);
        assert_eq!(of("/tmp/a b,c:d%e\\f'\"é".as_bytes()), Ok(()));
        let error = of(b"/tmp/a\nb").unwrap_err().to_string();
        let wanted = r#""/tmp/a\nb" contains '\n', which isobench cannot take in a path: set ISOBENCH_STATE to "#;
        assert!(error.starts_with(wanted), "{error}");
        let error = of(b"/tmp/caf\xe9").unwrap_err().to_string();
        let wanted = r#""/tmp/caf\xE9" contains the byte 0xe9 (not UTF-8), which isobench cannot take"#;
        assert!(error.starts_with(wanted), "{error}");

        let error = without(Path::new("/a,b:c"), ":", "Cargo", CACHE_REMEDY).unwrap_err().to_string();
        assert!(error.starts_with(r#""/a,b:c" contains ':', which Cargo cannot take in a path: set ISOBENCH_CACHE"#));
        assert_eq!(without(Path::new("/a,b"), ":", "Cargo", CACHE_REMEDY), Ok(()));
    }
}
