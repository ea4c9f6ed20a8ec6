//! An image's one layer, for who starts containers from images.

use std::io;
use std::path::Path;

/// Something in a layer, at a path in the container.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// A copy of a file of the host's.
    File(&'a str, &'a Path),
    /// A file to mount over.
    Empty(&'a str),
    /// A folder, or one to mount over. Mount points that exist need not be made in the container's own layer.
    Folder(&'a str),
}

/// The layer as a tar archive. Nothing of a file is in it but its content: same content, same layer.
///
/// # Errors
/// A file that cannot be read, named.
pub fn layer(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for &entry in entries {
        match entry {
            Entry::File(path, from) => {
                let content = std::fs::read(from);
                let content = content.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", from.display())))?;
                put(&mut tar, path, tar::EntryType::Regular, &content)?;
            }
            Entry::Empty(path) => put(&mut tar, path, tar::EntryType::Regular, &[])?,
            Entry::Folder(path) => put(&mut tar, path, tar::EntryType::Directory, &[])?,
        }
    }
    tar.into_inner()
}

/// Adds a file or folder that has nothing but its path and content.
///
/// # Errors
/// A path that is too long.
pub fn put(tar: &mut tar::Builder<Vec<u8>>, path: &str, kind: tar::EntryType, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path.trim_start_matches('/'), content)
}
