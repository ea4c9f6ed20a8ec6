// Stands in for the Functions Framework, as far as its documentation promises anything: calls the function that
// index.js exports with a request that has its method and its body's bytes, and with an answer that is built in steps.
// `node host.mjs INDEX PORT`

import { createServer } from "node:http";

const [index, port] = process.argv.slice(2);
const { guest } = await import(index);

createServer(async (request, answer) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  if (parts.length) request.rawBody = Buffer.concat(parts);
  const response = {
    status: (code) => ((answer.statusCode = code), response),
    type: (name) => (answer.setHeader("content-type", name), response),
    send: (body) => void answer.end(body),
  };
  guest(request, response);
}).listen(Number(port), "127.0.0.1");
