// Writes the inputs and expected outputs of the workloads that came with isobench, the same bytes each time:
//
//     node workloads/make-cases.mjs [NAME…]
//
// It needs Node 20.19 or later. The inputs come from a seeded generator. Expected outputs come from a reference of its own where there is one (echo:
// the input; sha256: Node's crypto), else from guest.js, which `isobench check` then compares with the Rust guest.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

/** Mulberry32: a small generator whose numbers no Node version will change. */
function seeded(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const int = (from, to) => from + Math.floor(next() * (to - from + 1));
  const pick = (items) => items[int(0, items.length - 1)];
  const chance = (p) => next() < p;
  return { next, int, pick, chance };
}

const utf8 = (text) => new TextEncoder().encode(text);
const sha256 = (bytes) => createHash("sha256").update(bytes).digest();
const pad = (n, digits = 2) => String(n).padStart(digits, "0");
const date = ({ int }) => `2026-${pad(int(1, 12))}-${pad(int(1, 28))}`;

/** Escapes some of the characters beyond ASCII as \uXXXX, and some slashes, as other programs' serialisers do. */
const asOthersWrite = (json, { chance }) =>
  json
    .replace(/[^\x00-\x7f]/gu, (c) =>
      chance(0.7) ? c : [...Array(c.length).keys()].map((i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, "0")}`).join(""),
    )
    .replace(/\//g, (c) => (chance(0.5) ? c : "\\/"));

// Data of a shop -----------------------------------------------------------------------------------------------------

const NAMES = [
  "Zoë Müller", "Seán O’Brien", "François \"Fanfan\" Lefèvre", "李小龍", "Αλέξανδρος Παπαδόπουλος", "Мария Иванова",
  "Bjørn Åkesson", "山田 太郎", "Nguyễn Thị Minh Khai", "Anna-Maria D'Angelo", "Ragnheiður Jónsdóttir", "محمد الفاسي",
  "Łukasz Wiśniewski", "Smith & Sons <Office>", "Chloë 🌻 Vance", "Tomás Ó Súilleabháin", "Ana \\ Beatriz Conceição",
];
const PLACES = [
  ["DE", "München", "Sendlinger Straße"], ["FR", "Orléans", "Rue de la République"], ["GR", "Αθήνα", "Οδός Ερμού"],
  ["JP", "京都市", "四条通"], ["SE", "Malmö", "Södra Förstadsgatan"], ["VN", "Đà Nẵng", "Đường Bạch Đằng"],
  ["PL", "Łódź", "ulica Piotrkowska"], ["IE", "Dún Laoghaire", "George's Street Lower"], ["BR", "São Paulo", "Rua Augusta"],
];
const THINGS = [
  "tea \"Blåbär & Hallon\"", "kettle, 1.5 l", "mug <Ahoj>", "café filter", "matcha 抹茶", "honey 🍯 \\ raw", "teapot O'Hara",
  "infuser ⌀ 5 cm", "saucer\t(set of 4)", "gaiwan 蓋碗", "oolong 烏龍", "crème brûlée kit", "spoon ½", "tin «Nº 5»",
];
const KINDS = ["Organic", "Small", "Large", "Spare", "Vintage", "Limited", "Travel", "Hand-made"];
const WORDS = (
  "the tea arrived within two days and smells lovely but lid does not close as well we hoped still my grandmother's " +
  "favourite now would buy again \"really\" good value for <3 people & one cat 😺 très bien nicht schlecht größer than " +
  "expected R&D says 5 > 4 it's fine 很好喝 колір гарний a bit bitter after 3 minutes at 90 °C so mind the time"
).split(" ");

function sentence(random, words) {
  const text = Array.from({ length: words }, () => random.pick(WORDS)).join(" ");
  return text[0].toUpperCase() + text.slice(1) + random.pick([".", "!", "…", "?"]);
}

function order(random, number) {
  const { int, pick, chance } = random;
  const person = int(0, 400);
  const [country, city, street] = PLACES[person % PLACES.length];
  const line = () => {
    const product = int(0, 300);
    return {
      sku: `SKU-${pad(product, 4)}`,
      title: `${KINDS[product % KINDS.length]} ${THINGS[product % THINGS.length]}`,
      quantity: int(1, 5),
      unit_cents: 199 + product * 37,
      gift: chance(0.15) ? { to: pick(NAMES), note: `${sentence(random, int(2, 6))}\n\t– "${pick(NAMES)}"` } : null,
    };
  };
  return {
    id: `ORD-${pad(number, 6)}`,
    customer: { id: 70000 + person, name: NAMES[person % NAMES.length], country, tags: chance(0.2) ? ["b2b", "vip"] : [] },
    placed_at: `${date(random)}T${pad(int(0, 23))}:${pad(int(0, 59))}:00Z`,
    status: pick(["paid", "paid", "shipped", "shipped", "returned", "cancelled"]),
    coupon: chance(0.3) ? { code: "SPRING/26", percent: pick([5, 10, 15]) } : null,
    lines: Array.from({ length: int(1, 4) }, line),
    shipping: { cents: pick([0, 499, 899]), address: { street: `${street} ${int(1, 200)}`, city, zip: pad(int(0, 99999), 5) } },
  };
}

/** Orders until the request has `size` bytes. */
function orders(seed, size) {
  const random = seeded(seed);
  const all = [];
  let bytes = 0;
  while (bytes < size) {
    all.push(asOthersWrite(JSON.stringify(order(random, all.length + 1)), random));
    bytes += utf8(all.at(-1)).length + 1;
  }
  return utf8(`{"currency":"EUR","exported_at":"2026-12-31T23:59:59Z","orders":[${all.join(",")}]}`);
}

function page(seed, products, reviews) {
  const random = seeded(seed);
  const { int, pick, chance } = random;
  const text = (words) => Array.from({ length: int(1, 3) }, () => sentence(random, words)).join(pick(["\n", "\n\n", " "]));
  const product = (_, i) => {
    const cents = int(199, 250000);
    const name = `${pick(KINDS)} ${pick(THINGS)}`;
    return {
      id: 1000 + i,
      name,
      description: text(14),
      cents,
      was_cents: chance(0.3) ? cents + int(100, 5000) : null,
      stock: pick([0, 1, 3, 12, 40]),
      tags: Array.from({ length: int(1, 4) }, () => pick(THINGS)),
      image: { src: `/img/${1000 + i}.webp?w=320&v="${int(1, 9)}"`, alt: name, width: 320, height: pick([240, 320]) },
      reviews: Array.from({ length: int(reviews > 2 ? 0 : 1, reviews) }, () => ({
        author: pick(NAMES),
        stars: int(1, 5),
        date: date(random),
        verified: chance(0.5),
        text: text(12),
      })),
    };
  };
  const data = {
    shop: {
      name: "Tee & Söhne",
      claim: "Tea, \"slow\" & good – since 1874",
      language: "en",
      currency: "€",
      imprint: "Tee & Söhne GmbH\nSendlinger Straße 7\n80331 München\n\nVAT <DE 123456789>",
    },
    title: "Kettles & pots < 50 €",
    query: "\"kettle\" & pot",
    user: products > 10 ? { name: pick(NAMES), cart: int(0, 9) } : null,
    page: int(1, 7),
    pages: 7,
    products: Array.from({ length: products }, product),
  };
  return utf8(asOthersWrite(JSON.stringify(data), random));
}

// Other data ---------------------------------------------------------------------------------------------------------

function noise(seed, size) {
  const { int } = seeded(seed);
  return Uint8Array.from({ length: size }, () => int(0, 255));
}

/** Lines of an access log: bytes as a digest meets them, and they pack well. */
function log(seed, size) {
  const random = seeded(seed);
  const { int, pick } = random;
  let text = "";
  while (text.length < size) {
    text += `${date(random)}T${pad(int(0, 23))}:${pad(int(0, 59))} ${pick(["GET", "GET", "POST"])} /product/${int(1000, 1400)} `;
    text += `${pick([200, 200, 200, 304, 404, 500])} ${int(1, 900)}ms\n`;
  }
  return utf8(text.slice(0, size));
}

/** The sun and the four great planets, from the public n-body benchmark, in solar masses, AU and days (scaled to years). */
function planets(steps) {
  const year = 365.24;
  const sun = 4 * Math.PI * Math.PI;
  const bodies = [
    [0, 0, 0, 0, 0, 0, 1],
    [4.84143144246472090, -1.16032004402742839, -0.103622044471123109, 0.00166007664274403694, 0.00769901118419740425, -0.0000690460016972063023, 0.000954791938424326609],
    [8.34336671824457987, 4.12479856412430479, -0.403523417114321381, -0.00276742510726411021, 0.00499852801234917238, 0.0000230417297573763929, 0.000285885980666130812],
    [12.8943695621391310, -15.1111514016986312, -0.223307578892655734, 0.00296460137564761618, 0.00237847173959480950, -0.0000296589568540237556, 0.0000436624404335156298],
    [15.3796971148509165, -25.9193146099879641, 0.179258772950371181, 0.00268067772490389322, 0.00162824170038242295, -0.0000951592254519715870, 0.0000515138902046611451],
  ].map(([x, y, z, vx, vy, vz, mass]) => [x, y, z, vx * year, vy * year, vz * year, mass * sun]);
  // The whole system at rest: the sun takes up the planets' momentum.
  for (const axis of [3, 4, 5]) bodies[0][axis] = -bodies.reduce((sum, body) => sum + body[axis] * body[6], 0) / sun;

  const view = new DataView(new ArrayBuffer(16 + bodies.length * 56));
  view.setUint32(0, steps, true);
  view.setUint32(4, bodies.length, true);
  view.setFloat64(8, 0.01, true);
  bodies.flat().forEach((number, i) => view.setFloat64(16 + i * 8, number, true));
  return new Uint8Array(view.buffer);
}

/** Discs on a gradient, with a little grain in the red and a soft edge of transparency. */
function picture(seed, size) {
  const { int } = seeded(seed);
  const discs = Array.from({ length: 24 }, () => ({
    x: int(0, size), y: int(0, size), r: int(size >> 5, size >> 3), colour: [int(0, 255), int(0, 255), int(0, 255)],
  }));
  const bytes = new Uint8Array(8 + size * size * 4);
  new DataView(bytes.buffer).setUint32(0, size, true);
  new DataView(bytes.buffer).setUint32(4, size, true);
  let at = 8;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const disc = discs.find((d) => (x - d.x) ** 2 + (y - d.y) ** 2 < d.r ** 2);
      const [r, g, b] = disc ? disc.colour : [(x * 255) / size, (y * 255) / size, ((x + y) * 127) / size];
      const grain = int(0, 63) === 0 ? int(0, 255) : r;
      const edge = Math.min(x, y, size - 1 - x, size - 1 - y);
      bytes.set([grain, g, b, Math.min(edge * 32, 255)], at);
      at += 4;
    }
  }
  return bytes;
}

// ---------------------------------------------------------------------------------------------------------------------

const WORKLOADS = {
  echo: { small: () => new Uint8Array(0), large: () => noise(1, 64 << 10), expected: (input) => input },
  json: { small: () => orders(103, 1700), large: () => orders(3, 256 << 10) },
  render: { small: () => page(136, 2, 2), large: () => page(5, 80, 8) },
  sha256: { small: () => log(6, 1 << 10), large: () => log(7, 1 << 20), expected: sha256 },
  nbody: { small: () => planets(1000), large: () => planets(100_000) },
  blur: { small: () => picture(8, 64), large: () => picture(9, 512) },
};

function writeDigest(toml, label, digest) {
  const place = new RegExp(`(name = "${label}"\\n[^[]*expected_sha256 = ")[^"]*`);
  writeFileSync(toml, readFileSync(toml, "utf8").replace(place, `$1${digest}`));
}

const names = process.argv.slice(2);
for (const name of names.length > 0 ? names : Object.keys(WORKLOADS)) {
  const { expected, ...cases } = WORKLOADS[name];
  const folder = new URL(`${name}/`, import.meta.url);
  mkdirSync(new URL("cases/", folder), { recursive: true });
  const answer = expected ?? (await import(new URL("guest.js", folder))).handle;
  for (const [label, make] of Object.entries(cases)) {
    const input = make();
    const output = answer(input);
    // The echo's answer is its input; a long answer is kept as its digest.
    const expectation = name === "echo" ? "input" : output.length <= 64 << 10 ? "file" : "digest";
    writeFileSync(new URL(`cases/${label}.in`, folder), input);
    if (expectation === "file") writeFileSync(new URL(`cases/${label}.out`, folder), output);
    if (expectation === "digest") writeDigest(new URL("workload.toml", folder), label, sha256(output).toString("hex"));
    console.log(`${name}/${label}: ${input.length} bytes in, ${output.length} out`);
  }
}
