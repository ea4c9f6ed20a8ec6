//! Which platforms there are, and what their units are made of.

use crate::adapter::Protocol;
use isobench_core::Guest;

/// A platform that a unit can be made for.
#[derive(Debug)]
pub struct Platform {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is and what it is given, on one line.
    pub about: &'static str,
    /// What its own command line is asked to do with a unit; the unit's README.md has the whole lines.
    pub deploy: &'static str,
    /// The guests that it takes, the usual one first.
    pub guests: &'static [Guest],
    pub(super) runs: Runs,
    pub(super) texts: &'static [Text],
}

/// What runs the guest there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Runs {
    /// Our agent, behind our adapter, whose program has that name there.
    Adapter(Protocol, &'static str),
    /// Our agent, behind a handler in the platform's language.
    Handler,
    /// The platform's own engine, behind a module in its language.
    Platform,
}

/// A file that is written; words between `@` are filled in, in its name too.
#[derive(Debug)]
pub(super) struct Text {
    pub name: &'static str,
    pub text: &'static str,
    /// Absent where every guest has it.
    pub only: Option<Guest>,
}

impl Platform {
    /// The platform of that name.
    pub fn named(name: &str) -> Option<&'static Platform> {
        PLATFORMS.iter().find(|platform| platform.name == name)
    }

    /// Whether the platform's own engine runs the guest, and none of ours.
    pub fn brings_engine(&self) -> bool {
        matches!(self.runs, Runs::Platform)
    }
}

const fn text(name: &'static str, text: &'static str) -> Text {
    Text { name, text, only: None }
}

/// The adapter's name, where the platform does not ask for another.
const PROGRAM: &str = super::ADAPTER;

const ANY: &[Guest] = &[Guest::Native, Guest::Js, Guest::Wasm];
const PORTABLE: &[Guest] = &[Guest::Js, Guest::Wasm];

/// A request's bytes to its answer: the end of a module that has imported `handle` and `limits`.
macro_rules! answer {
    () => {
        include_str!("../../../backends/workerd/src/worker/answer.js")
    };
}

/// A Wasm guest with the interface of a JS guest: the end of a module that has imported `module` and `limits`.
macro_rules! glue {
    () => {
        include_str!("../../../backends/workerd/src/worker/wasm.js")
    };
}

const DOCKERFILE: Text = text("Dockerfile", include_str!("../units/container.Dockerfile"));

/// Every platform.
pub static PLATFORMS: [Platform; 8] = [
    Platform {
        name: "workers",
        about: "Cloudflare Workers: a module Worker, run by their V8",
        deploy: "npx wrangler deploy",
        guests: PORTABLE,
        runs: Runs::Platform,
        texts: &[
            text("worker.js", concat!(include_str!("../units/workers/worker.js"), answer!())),
            Text {
                name: "guest.js",
                text: concat!(
                    "import module from \"./guest.wasm\";\nimport limits from \"./limits.json\";\n\n",
                    glue!()
                ),
                only: Some(Guest::Wasm),
            },
            text("wrangler.toml", include_str!("../units/workers/wrangler.toml")),
            text("README.md", include_str!("../units/workers/README.md")),
        ],
    },
    Platform {
        name: "lambda",
        about: "AWS Lambda: a custom runtime, called by a function URL",
        deploy: "zip; aws lambda create-function",
        guests: ANY,
        runs: Runs::Adapter(Protocol::Lambda, "bootstrap"),
        texts: &[text("README.md", include_str!("../units/lambda/README.md"))],
    },
    Platform {
        name: "azure",
        about: "Azure Functions: a custom handler",
        deploy: "func azure functionapp publish",
        guests: ANY,
        runs: Runs::Adapter(Protocol::Http, PROGRAM),
        texts: &[
            text("host.json", include_str!("../units/azure/host.json")),
            text("@WORKLOAD@/function.json", include_str!("../units/azure/function.json")),
            text("README.md", include_str!("../units/azure/README.md")),
        ],
    },
    Platform {
        name: "gcf",
        about: "Google Cloud Functions, 2nd generation: an HTTP function, run by their Node.js",
        deploy: "gcloud functions deploy --gen2",
        guests: PORTABLE,
        runs: Runs::Platform,
        texts: &[
            text("index.js", concat!(include_str!("../units/gcf/index.js"), answer!())),
            Text {
                name: "guest.js",
                text: concat!(
                    "import { readFileSync } from \"node:fs\";\n",
                    "import limits from \"./limits.json\" with { type: \"json\" };\n\n",
                    "const module = new WebAssembly.Module(readFileSync(new URL(\"guest.wasm\", import.meta.url)));\n\n",
                    glue!()
                ),
                only: Some(Guest::Wasm),
            },
            text("package.json", include_str!("../units/gcf/package.json")),
            text("README.md", include_str!("../units/gcf/README.md")),
        ],
    },
    Platform {
        name: "cloud-run",
        about: "Google Cloud Run: a container that answers HTTP; Knative and Fission take it as well",
        deploy: "docker build, push; gcloud run deploy, kn service create, …",
        guests: ANY,
        runs: Runs::Adapter(Protocol::Http, PROGRAM),
        texts: &[DOCKERFILE, text("README.md", include_str!("../units/cloud-run/README.md"))],
    },
    Platform {
        name: "openwhisk",
        about: "Apache OpenWhisk: a Docker action, called as a raw web action",
        deploy: "docker build, push; wsk action create --docker --web raw",
        guests: ANY,
        runs: Runs::Adapter(Protocol::Openwhisk, PROGRAM),
        texts: &[DOCKERFILE, text("README.md", include_str!("../units/openwhisk/README.md"))],
    },
    Platform {
        name: "openlambda",
        about: "OpenLambda: a Python handler in front of the agent",
        deploy: "ol admin install",
        guests: ANY,
        runs: Runs::Handler,
        texts: &[
            text("f.py", include_str!("../units/openlambda/f.py")),
            text("README.md", include_str!("../units/openlambda/README.md")),
        ],
    },
    Platform {
        name: "ironfunctions",
        about: "IronFunctions: a container for the formats `default` and `http`",
        deploy: "docker build, push; fn routes create",
        guests: ANY,
        runs: Runs::Adapter(Protocol::Ironfunctions, PROGRAM),
        texts: &[DOCKERFILE, text("README.md", include_str!("../units/ironfunctions/README.md"))],
    },
];
