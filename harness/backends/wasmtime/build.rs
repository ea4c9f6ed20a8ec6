//! Tells the crate which Wasmtime it is built with: the engine itself does not say.

use std::{env, fs, path::Path};

fn main() {
    let lock = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = fs::read_to_string(&lock).expect("the workspace's Cargo.lock");
    let lock: toml::Table = text.parse().expect("Cargo.lock is TOML");
    let version = lock["package"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"].as_str() == Some("wasmtime"))
        .and_then(|package| package["version"].as_str())
        .expect("wasmtime is a dependency");
    println!("cargo::rustc-env=ISOBENCH_WASMTIME_VERSION={version}");
}
