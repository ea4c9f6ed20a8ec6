//! What workerd is told: a configuration in Cap'n Proto's text, compiled ahead, with the guest in it.

use crate::Variant;
use isobench_core::{Fault, Guest, sha256_hex};
use isobench_runner::agents::program_stamp;
use isobench_runner::helper::Helper;
use isobench_runner::{RunContext, Target, sealed};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Workers state the date whose behaviour they want. This one has all that is used, and whoever brings an older workerd
/// need not be refused.
const DATE: &str = "2026-01-01";

const ADAPTER: &str = concat!(include_str!("worker/adapter.js"), include_str!("worker/answer.js"));
const WASM: &str = concat!(
    "import module from \"./guest.wasm\";\nimport limits from \"./limits.json\";\n",
    include_str!("worker/wasm.js")
);
const HOST: &str = include_str!("worker/host.js");

/// The compiled configuration of `target`, made unless it is whole in the cache. A start that
/// reads the text takes 1.6 times as long, and this is what Cloudflare's own tools hand to workerd.
///
/// # Errors
/// The fault of a file that cannot be written, or of a workerd that does not take it.
pub(crate) fn compiled(ctx: &RunContext, target: &Target, program: &Path) -> Result<PathBuf, Fault> {
    let variant = Variant::named(&target.variant)?;
    let text = text(variant, target);
    let limits = serde_json::json!({ "frame": target.limits.frame_bytes, "memory": target.limits.memory_bytes });
    let (limits, sources) = (limits.to_string(), [ADAPTER, WASM, HOST].concat());
    let stamp = format!("{} {} {text}{limits}{sources}", program_stamp(program)?, target.artifact_sha256);
    let path = ctx.cache.join("workerd").join("configs").join(format!("{}.bin", sha256_hex(stamp.as_bytes())));
    if sealed::is_whole(&path) {
        return Ok(path);
    }
    let guest = fs::read(&target.artifact);
    let guest = guest.map_err(|e| Fault::backend(format!("{}: {e}", target.artifact.display())))?;
    let home = ctx.state.join("config");
    let files: [(&str, &[u8]); 6] = [
        ("config.capnp", text.as_bytes()),
        ("adapter.js", ADAPTER.as_bytes()),
        ("wasm.js", WASM.as_bytes()),
        ("host.js", HOST.as_bytes()),
        ("limits.json", limits.as_bytes()),
        ("guest", &guest),
    ];
    put(&home, &files)?;
    let allowed = target.limits.start_deadline(target.emulated);
    let binary = compile(program, &home, allowed).map_err(|e| Fault::backend(format!("the configuration: {e}")))?;
    // Made above, inside the state folder of this process.
    let _ = fs::remove_dir_all(home);
    sealed::write(&path, binary).map_err(|e| Fault::backend(format!("{}: {e}", path.display())))?;
    Ok(path)
}

/// What `workerd compile` makes of the configuration in `home`.
fn compile(program: &Path, home: &Path, allowed: Duration) -> Result<Vec<u8>, String> {
    let text = |e: io::Error| e.to_string();
    let (binary, words) = (home.join("config.bin"), home.join("words"));
    let mut command = Command::new(program);
    command.args(["compile", "--config-only"]).arg(home.join("config.capnp")).stdin(Stdio::null());
    command.stdout(File::create(&binary).map_err(text)?).stderr(File::create(&words).map_err(text)?);
    let status = Helper::spawn(&mut command).map_err(text)?.wait(allowed)?;
    if !status.success() {
        return Err(format!("workerd compile: {status}: {}", fs::read_to_string(words).unwrap_or_default().trim()));
    }
    fs::read(binary).map_err(text)
}

fn put(folder: &Path, files: &[(&str, &[u8])]) -> Result<(), Fault> {
    let written = fs::create_dir_all(folder)
        .and_then(|()| files.iter().try_for_each(|(name, content)| fs::write(folder.join(name), content)));
    written.map_err(|e| Fault::backend(format!("{}: {e}", folder.display())))
}

/// The configuration's text. It has no network: the service that would be the Internet may connect to nothing.
fn text(variant: Variant, target: &Target) -> String {
    // The one flag that does not make workerd throw away the code cache of its own start, see the README.
    let heap = target.limits.memory_bytes >> 20;
    let module = |name: &str, kind: &str, file: &str| format!("(name = \"{name}\", {kind} = embed \"{file}\")");
    let wasm = target.guest == Guest::Wasm;
    let (modules, bindings) = if variant == Variant::Static {
        let mut modules =
            vec![module("adapter.js", "esModule", "adapter.js"), module("limits.json", "json", "limits.json")];
        modules.push(module("guest.js", "esModule", if wasm { "wasm.js" } else { "guest" }));
        modules.extend(wasm.then(|| module("guest.wasm", "wasm", "guest")));
        (modules, String::new())
    } else {
        let modules = vec![
            module("host.js", "esModule", "host.js"),
            module("adapter", "text", "adapter.js"),
            module("wasm", "text", "wasm.js"),
            module("limits", "json", "limits.json"),
            module("guest", if wasm { "data" } else { "text" }, "guest"),
        ];
        (modules, format!("(name = \"LOADER\", workerLoader = ()), (name = \"DATE\", text = \"{DATE}\")"))
    };
    format!(
        r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  v8Flags = ["--max-heap-size={heap}"],
  services = [(name = "main", worker = .worker), (name = "internet", network = (allow = []))],
  sockets = [(name = "http", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [{}],
  bindings = [{bindings}],
  compatibilityDate = "{DATE}",
);
"#,
        modules.join(", ")
    )
}
