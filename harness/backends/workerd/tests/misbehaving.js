// A guest that does what its request says, harm included.

const text = (bytes) => new TextDecoder().decode(bytes);
const bytes = (text) => new TextEncoder().encode(text);

let canary = "";

const acts = {
  "": () => {},
  throw() {
    throw new Error("as told");
  },
  "throw a trap"() {
    throw { get message() { throw this; }, get stack() { throw this; }, toString() { throw this; } };
  },
  recurse: () => acts.recurse() + 1,
  "eat the heap"() {
    for (const all = []; ; ) all.push(new Array(1e5).fill(1.5));
  },
  "ask for too much": () => new Uint8Array(2 ** 53 - 1),
  "answer text": () => "text",
  "answer a promise": async () => bytes("answer a promise"),
  "answer wrongly": () => bytes("no"),
  "answer much": () => new Uint8Array(16 * 2 ** 20 + 1),
  hang() {
    for (;;);
  },
  "throw later": () => void Promise.reject(new Error("as told, later")),
  chatter: () => console.error("chatter ".repeat(1e5)),
  "plant a canary"() {
    if (canary || globalThis.canary) return bytes(`found ${canary}`);
    canary = globalThis.canary = "planted";
  },
  "show a random seed": () => bytes(`${Math.random()} ${crypto.randomUUID()}`),
};

export function handle(request) {
  const told = text(request);
  if (told.startsWith("http:")) return void fetch(told).catch(() => {}) ?? request;
  return acts[told]() ?? request;
}
