// The end of a module that has imported `handle` and `limits`, here and in the units that `isobench export` makes. A fault
// is answered with status 500 and the line that agents send (docs/FORMATS.md).

if (typeof handle !== "function") throw new Error("invalid_guest: the guest exports no function `handle`");

/** What happened, on one line, to something thrown, which may be anything. */
function fault(error) {
  try {
    if (typeof error?.fault === "string") return error.fault;
    const refused = error instanceof RangeError && error.message === "Array buffer allocation failed";
    if (refused) return `out_of_memory: ${error}`;
    const at = /guest\.js:\d+/.exec(error?.stack)?.[0];
    return `guest_throw: ${at ? `${at}: ` : ""}${error}`;
  } catch {
    return "guest_throw: something that cannot be shown";
  }
}

function answer(request) {
  const bytes = handle(request);
  if (!(bytes instanceof Uint8Array)) throw { fault: "bad_answer: the guest's answer is no Uint8Array" };
  // A detached array looks like an empty one.
  if (bytes.length === 0 && bytes.buffer.detached) {
    throw { fault: "bad_answer: the answer is detached: its buffer was transferred" };
  }
  if (bytes.length <= limits.frame) return bytes;
  throw { fault: `frame_too_large: the answer has ${bytes.length} bytes, the limit is ${limits.frame}` };
}

/** Status and body of the answer to a request's bytes. */
function answered(request) {
  try {
    return [200, answer(request)];
  } catch (error) {
    return [500, fault(error).replace(/[\r\n]+/g, " ").slice(0, 1000)];
  }
}
