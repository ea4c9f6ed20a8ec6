// The agent that holds a JS guest in Node or a runtime of its kind: the frame protocol (docs/FORMATS.md) and nothing
// else. It is started as any agent is, with `--connect unix:PATH --guest PATH --frame BYTES`, and is told the protocol's
// version, `--protocol N`. The deadline of a call is the host's, which ends the process: JavaScript cannot interrupt
// itself. So is the memory limit, V8's own `--max-heap-size`.
//
// Without `--connect` it loads the guest and ends, which is how a compile cache is filled. In a snapshot the guest has
// been evaluated already: bundle.cjs puts both into one script.

"use strict";

const net = require("node:net");
const { setImmediate: later } = require("node:timers");
const { pathToFileURL } = require("node:url");

const [UP, HELLO, CALL, ANSWER, FAULT, STOP, MEMORY] = [1, 2, 3, 4, 5, 7, 8];
const HEADER = 5;
/** A frame up to this size is copied together and written at once, as the other agents do. */
const ONE_WRITE = 4096;
/** Bytes of a fault's message. */
const MESSAGE = 1000;

/** What ends a load or a call; `kind` is a name of docs/FORMATS.md. */
class Fault {
  constructor(kind, message) {
    Object.assign(this, { kind, message });
  }
}

/** One line about something thrown, which may be anything, a trap for who looks at it included. */
function thrown(error) {
  try {
    if (error instanceof Fault) return error;
    const outOfMemory = error instanceof RangeError && error.message === "Array buffer allocation failed";
    const at = /guest\.[\w.]+:\d+/.exec(error?.stack)?.[0];
    return new Fault(outOfMemory ? "out_of_memory" : "guest_throw", at ? `${at}: ${error}` : String(error));
  } catch {
    return new Fault("guest_throw", "something that cannot be shown");
  }
}

/** The guest's handler, out of a module's exports. */
function handler({ handle }) {
  if (typeof handle !== "function") throw new Fault("invalid_guest", "the guest exports no function `handle`");
  return handle;
}

async function load(path) {
  try {
    return handler(await import(pathToFileURL(path)));
  } catch (error) {
    // What a module throws by itself may be one too; one that does not compile throws nothing else. Deno, which reads a
    // module before V8 does, says so in words.
    const syntax = error instanceof SyntaxError || /^SyntaxError: /.test(error?.message);
    throw syntax ? new Fault("invalid_guest", thrown(error).message) : error;
  }
}

function send(socket, kind, payload) {
  const small = payload.length <= ONE_WRITE;
  const header = Buffer.allocUnsafe(small ? HEADER + payload.length : HEADER);
  header.writeUInt32LE(payload.length, 0);
  header[4] = kind;
  if (small) {
    header.set(payload, HEADER);
    socket.write(header);
  } else {
    socket.cork();
    socket.write(header);
    socket.write(payload);
    socket.uncork();
  }
}

function line({ kind, message }) {
  return `${kind}: ${message}`.replace(/[\r\n]+/g, " ");
}

function sendFault(socket, fault) {
  send(socket, FAULT, Buffer.from(line(fault)).subarray(0, MESSAGE));
}

/** Ends a process that nobody is connected to. */
function fail(error) {
  console.error(line(thrown(error)));
  process.exit(1);
}

/** The guest's answer, if it keeps the contract. */
function checked(bytes, frame) {
  if (!(bytes instanceof Uint8Array)) throw new Fault("bad_answer", "the guest's answer is no Uint8Array");
  // A detached array looks like an empty one.
  if (bytes.length === 0 && bytes.buffer.detached) {
    throw new Fault("bad_answer", "the answer is detached: its buffer was transferred");
  }
  if (bytes.length <= frame) return bytes;
  throw new Fault("frame_too_large", `the answer has ${bytes.length} bytes, the limit is ${frame}`);
}

/** Cuts a stream into frames: `frames` is called with the kind and the payload, in memory of its own. */
function reader(limit, frames) {
  let pieces = [];
  let have = 0;
  let need = HEADER;
  return (piece) => {
    pieces.push(piece);
    have += piece.length;
    while (have >= need) {
      const all = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, have);
      pieces = [all];
      const length = all.readUInt32LE(0);
      if (length > limit) throw new Fault("frame_too_large", `the request has ${length} bytes, the limit is ${limit}`);
      need = HEADER + length;
      if (have < need) return;
      const payload = new Uint8Array(length);
      payload.set(all.subarray(HEADER, need));
      const kind = all[4];
      pieces = [all.subarray(need)];
      have -= need;
      need = HEADER;
      frames(kind, payload);
    }
  };
}

function serve(socket, handle, frame) {
  const take = reader(frame, (kind, request) => {
    if (kind === STOP) process.exit(0);
    // Asked of who has a kernel of its own, which a process has not.
    if (kind === MEMORY) return send(socket, MEMORY, []);
    if (kind !== CALL) return sendFault(socket, new Fault("bad_frame", `Node's agent takes no frame of kind ${kind}`));
    const attempt = (act) => {
      try {
        act();
      } catch (error) {
        sendFault(socket, thrown(error));
      }
    };
    attempt(() => {
      const bytes = handle(request);
      // Once the promises that the call left have run, as in every engine. If they never end, there is no answer.
      later(() => attempt(() => send(socket, ANSWER, checked(bytes, frame))));
    });
  });
  socket.on("data", (piece) => {
    try {
      take(piece);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      // The stream is out of step.
      sendFault(socket, error);
      socket.end(() => process.exit(1));
    }
  });
}

/** `loaded` are the guest's exports, where it has been evaluated already. */
function main(args, loaded) {
  const option = (name) => args[args.indexOf(name) + 1];
  // A rejected promise that the guest does not await changes no answer: engines without an event loop ignore it too.
  process.on("unhandledRejection", () => {});
  if (!args.includes("--connect")) return load(option("--guest")).catch(fail);
  const socket = net.connect(option("--connect").slice("unix:".length));
  socket.on("connect", async () => {
    send(socket, UP, []);
    try {
      const handle = loaded ? handler(loaded) : await load(option("--guest"));
      const { deno, node } = process.versions;
      const hello = Buffer.from(`..js ${deno ? `deno ${deno}` : `node ${node}`}`);
      hello.writeUInt16LE(Number(option("--protocol")));
      serve(socket, handle, Number(option("--frame")));
      send(socket, HELLO, hello);
    } catch (error) {
      sendFault(socket, thrown(error));
      socket.end(() => process.exit(1));
    }
  });
  socket.on("close", () => process.exit(0));
}
