// The guest as a Google Cloud Function: a request's body in by POST, the answer's body out. GET says that the guest is
// evaluated. What is done with the bytes follows.

import { handle } from "./guest.js";
import limits from "./limits.json" with { type: "json" };

export const guest = (request, response) => {
  const [status, body] = responded(request);
  response.status(status).type(status === 200 ? "application/octet-stream" : "text/plain").send(Buffer.from(body));
};

function responded(request) {
  if (request.method === "GET") return [200, "ready"];
  if (request.method !== "POST") return [405, "POST a request's bytes; GET says `ready`"];
  // A request without a body has none.
  return answered(new Uint8Array(request.rawBody ?? []));
}

