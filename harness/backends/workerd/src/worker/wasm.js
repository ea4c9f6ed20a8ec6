// A Wasm guest as a module with the interface of a JS guest: what the contract says of `alloc` and `handle`. The end of a
// module that has imported `module` and `limits`, here and in the units that `isobench export` makes.

const raise = (kind, message) => {
  throw Object.assign(new Error(`${kind}: ${message}`), { fault: `${kind}: ${message}` });
};

const { exports } = (() => {
  try {
    return new WebAssembly.Instance(module, {});
  } catch (error) {
    // The module has been checked against the contract: what fails is its start function, or room for its memory.
    raise(/out of memory/i.test(error?.message) ? "out_of_memory" : "guest_trap", error);
  }
})();
const { memory, alloc, handle: call } = exports;

/** A trap. An allocator that gives up traps as well: with half of the limit in use it is taken for that. */
function trapped(error) {
  if (!(error instanceof WebAssembly.RuntimeError || error instanceof RangeError)) throw error;
  raise(2 * memory.buffer.byteLength >= limits.memory ? "out_of_memory" : "guest_trap", error);
}

function trapping(act) {
  try {
    return act();
  } catch (error) {
    trapped(error);
  }
}

trapping(() => exports._initialize?.());

export function handle(request) {
  const at = trapping(() => alloc(request.length)) >>> 0;
  if (at + request.length > memory.buffer.byteLength) raise("bad_answer", "`alloc` answered outside of memory");
  new Uint8Array(memory.buffer, at, request.length).set(request);
  const packed = BigInt.asUintN(64, trapping(() => call(at, request.length)));
  // Nothing keeps it from growing; that it did is seen here.
  const size = memory.buffer.byteLength;
  if (size > limits.memory) raise("out_of_memory", `linear memory of ${size} bytes`);
  const [start, length] = [Number(packed >> 32n), Number(packed & 0xffffffffn)];
  if (length > limits.frame) raise("frame_too_large", `the answer has ${length} bytes, the limit is ${limits.frame}`);
  if (start + length > size) raise("bad_answer", "the answer lies outside of memory");
  return new Uint8Array(memory.buffer, start, length).slice();
}
