// Puts a guest and the agent into one script, of which Node takes a snapshot: it knows no modules while it does.
//
//     node --expose-internals bundle.cjs GUEST AGENT SCRIPT
//
// The contract lets a guest export and forbids it to import. Where its exports are tells the parser that Node brings
// (acorn), so that no text is taken for code. What it exports is all that is taken out of the guest's text.

"use strict";

const { readFileSync, writeFileSync } = require("node:fs");
const acorn = require("internal/deps/acorn/acorn/dist/acorn");

/** What a snapshot's script cannot have, or what is no JavaScript. */
function refuse(what) {
  console.error(`invalid_guest: ${what}`);
  process.exit(1);
}

function parse(text) {
  try {
    return acorn.parse(text, { ecmaVersion: "latest", sourceType: "module" }).body;
  } catch (error) {
    refuse(error.message);
  }
}

/** The names that a declaration declares; one that takes things apart has none that could be `handle`. */
function declared(declaration) {
  const ids = declaration.declarations?.map(({ id }) => id) ?? [declaration.id];
  return ids.filter(({ type }) => type === "Identifier").map(({ name }) => [name, name]);
}

/** The guest's text as a function body that returns its exports. */
function unwrap(text) {
  const cuts = [];
  const exported = [];
  for (const node of parse(text)) {
    if (node.type === "ImportDeclaration" || node.source) refuse("a snapshot takes no guest that imports");
    if (node.type === "ExportDefaultDeclaration") refuse("a snapshot takes no guest with a default export");
    if (node.type !== "ExportNamedDeclaration") continue;
    cuts.push([node.start, node.declaration?.start ?? node.end]);
    const names = node.declaration
      ? declared(node.declaration)
      : node.specifiers.map(({ local, exported }) => [exported.name ?? exported.value, local.name]);
    exported.push(...names);
  }
  // Blanks in their place: lines and columns stay what they were.
  const blank = (from, to) => text.slice(from, to).replace(/[^\n]/g, " ");
  for (const [from, to] of cuts) text = text.slice(0, from) + blank(from, to) + text.slice(to);
  const returned = exported.map(([outer, inner]) => `get ${JSON.stringify(outer)}() { return ${inner}; }`);
  return `${text}\n;return { ${returned.join(", ")} };`;
}

const [guest, agent, script] = process.argv.slice(2);
const body = unwrap(readFileSync(guest, "utf8"));
// The guest comes first, on the first line: an error in it names the line that it has in its own file.
writeFileSync(
  script,
  `const evaluate = function () { "use strict"; ${body}
};
(function () {
${readFileSync(agent, "utf8")}
try {
  const guest = evaluate.call(undefined);
  require("node:v8").startupSnapshot.setDeserializeMainFunction(() => main(process.argv.slice(1), guest));
} catch (error) {
  fail(error);
}
})();
`,
);
