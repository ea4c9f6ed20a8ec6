// The guest as a Cloudflare Worker: a request's body in by POST, the answer's body out. GET says that the guest is
// evaluated. What is done with the bytes follows.

import { handle } from "./guest.js";
import limits from "./limits.json";

export default {
  async fetch(request) {
    if (request.method === "GET") return new Response("ready");
    if (request.method !== "POST") return new Response("POST a request's bytes; GET says `ready`", { status: 405 });
    const [status, body] = answered(new Uint8Array(await request.arrayBuffer()));
    return new Response(body, { status });
  },
};

