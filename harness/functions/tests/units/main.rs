//! Units run on loopback, each by what its platform's documentation says: every case of two workloads is answered and
//! verified, every fault has its name, nothing is left behind.

mod bed;
mod containers;
mod ironfunctions;
mod lambda;
mod openwhisk;
mod platforms;

/// Two workloads: nothing but the adapter, and one whose answers are not their requests.
const WORKLOADS: [&str; 2] = ["workloads/echo", "workloads/json"];

/// The native guest that does what its request says, harm included.
const MISBEHAVING: &str = "harness/runner/tests/fixtures/misbehaving";
