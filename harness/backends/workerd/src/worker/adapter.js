// Turns a guest into a Worker: a request's body in by POST, the answer's body out. GET says that the guest is
// evaluated, DELETE takes the isolate down. A fault is answered with status 500 and the line that agents send (docs/FORMATS.md).

import { abortIsolate } from "cloudflare:workers";
import { handle } from "./guest.js";
import limits from "./limits.json";

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
  if (bytes.length <= limits.frame) return bytes;
  throw { fault: `frame_too_large: the answer has ${bytes.length} bytes, the limit is ${limits.frame}` };
}

export default {
  async fetch(request) {
    if (request.method === "GET") return new Response("ready");
    if (request.method === "DELETE") abortIsolate("stopped");
    const body = new Uint8Array(await request.arrayBuffer());
    try {
      return new Response(answer(body));
    } catch (error) {
      return new Response(fault(error).replace(/[\r\n]+/g, " ").slice(0, 1000), { status: 500 });
    }
  },
};
