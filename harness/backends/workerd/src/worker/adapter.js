// Turns a guest into a Worker: a request's body in by POST, the answer's body out. GET says that the guest is
// evaluated, DELETE takes the isolate down. What is done with the bytes follows, from answer.js.

import { abortIsolate } from "cloudflare:workers";
import { handle } from "./guest.js";
import limits from "./limits.json";

export default {
  async fetch(request) {
    if (request.method === "GET") return new Response("ready");
    if (request.method === "DELETE") abortIsolate("stopped");
    const [status, body] = answered(new Uint8Array(await request.arrayBuffer()));
    return new Response(body, { status });
  },
};

