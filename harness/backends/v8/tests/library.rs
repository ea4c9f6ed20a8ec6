//! V8's library in the repository is the one that its checksums name, and they name all that the crate takes from it.

use isobench_core::sha256_hex;
use std::path::Path;

#[test]
fn v8s_library_is_what_its_checksums_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../third_party/v8");
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).expect("third_party/v8/SHA256SUMS");
    let mut checked = Vec::new();
    for line in sums.lines() {
        let (expected, name) = line.split_once("  ").expect("lines of `sha256sum`");
        let bytes = std::fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(sha256_hex(&bytes), expected, "{name} is not the file that was checked in");
        checked.push(name.rsplit_once('.').expect("every file has an ending").1);
    }
    checked.sort_unstable();
    assert_eq!(checked, ["gz", "rs"], "the library and its bindings");
}
