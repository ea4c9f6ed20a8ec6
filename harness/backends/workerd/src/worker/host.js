// The Worker in front of dynamic ones: a request's path names an isolate, which is loaded when it is named first.

import adapter from "adapter";
import guest from "guest";
import limits from "limits";
import wasm from "wasm";

const modules = { "adapter.js": adapter, "limits.json": { json: limits } };
if (typeof guest === "string") modules["guest.js"] = guest;
else Object.assign(modules, { "guest.js": wasm, "guest.wasm": { wasm: guest } });

export default {
  async fetch(request, { LOADER, DATE }) {
    const { pathname } = new URL(request.url);
    if (pathname === "/") return new Response("ready");
    const code = { compatibilityDate: DATE, mainModule: "adapter.js", modules, globalOutbound: null };
    try {
      return await LOADER.get(pathname, () => code).getEntrypoint().fetch(request);
    } catch (error) {
      // An isolate that takes itself down has no answer to that.
      if (request.method === "DELETE") return new Response("gone");
      return new Response(String(error), { status: 500 });
    }
  },
};
