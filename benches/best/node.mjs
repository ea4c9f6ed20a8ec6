// One warm series of one guest in Node, under the same contract as in isobench: the guest owns its request, the host its
// answer, so both are copied inside the clock; every answer is checked outside it. One JSON object comes in on standard
// input and one goes out.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const { artifact, guest, input, expected_sha256, series } = JSON.parse(readFileSync(0, "utf8"));

async function javascript(source) {
  // By its text: Node before 22 takes a `.js` file without a package.json for no module.
  const { handle } = await import(`data:text/javascript;base64,${source.toString("base64")}`);
  return (request) => handle(request.slice()).slice();
}

function wasm(binary) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(binary));
  exports._initialize?.();
  return (request) => {
    const at = exports.alloc(request.length);
    new Uint8Array(exports.memory.buffer, at >>> 0, request.length).set(request);
    const packed = BigInt.asUintN(64, exports.handle(at, request.length));
    return new Uint8Array(exports.memory.buffer, Number(packed >> 32n), Number(packed & 0xffffffffn)).slice();
  };
}

const code = readFileSync(artifact);
const call = guest === "js" ? await javascript(code) : wasm(code);
const request = new Uint8Array(readFileSync(input));
let known;
function verify(answer) {
  if (known && Buffer.compare(known, answer) === 0) return;
  const got = createHash("sha256").update(answer).digest("hex");
  if (got !== expected_sha256) throw new Error(`${artifact}: ${answer.length} bytes with sha256 ${got}, expected ${expected_sha256}`);
  known = Buffer.from(answer);
}

const calls_ns = [];
const begun = performance.now();
while (calls_ns.length < series.max_calls) {
  const elapsed = performance.now() - begun;
  if ((calls_ns.length >= series.min_calls && elapsed >= series.min_ms) || elapsed >= series.max_ms) break;
  const before = performance.now();
  const answer = call(request);
  const after = performance.now();
  verify(answer);
  calls_ns.push(Math.round((after - before) * 1e6));
}
process.stdout.write(JSON.stringify({ calls_ns }));
