// Asserts of TextEncoder and TextDecoder, run as a guest: answers `ok`, or throws what is wrong.

function equal(got, expected, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: got ${a}, expected ${b}`);
}

function throws(kind, act, what) {
  try {
    act();
  } catch (error) {
    if (error instanceof kind) return;
    throw new Error(`${what}: threw ${error}`);
  }
  throw new Error(`${what}: did not throw`);
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const encode = (text) => [...encoder.encode(text)];
const decode = (...bytes) => decoder.decode(Uint8Array.from(bytes));

export function handle() {
  equal(encode(""), [], "encode empty");
  equal(encode(), [], "encode nothing");
  equal(encode("aé€😀"), [0x61, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80], "encode widths");
  equal(encode("\u{d800}x"), [0xef, 0xbf, 0xbd, 0x78], "encode a lone surrogate");
  equal(encode(12), [0x31, 0x32], "encode a number");
  equal(encoder.encode("é".repeat(50_000)).length, 100_000, "encode a long text");

  const into = new Uint8Array(4);
  equal(encoder.encodeInto("a€€", into), { read: 2, written: 4 }, "encodeInto what fits");
  equal([...into], [0x61, 0xe2, 0x82, 0xac], "encodeInto bytes");
  const part = new Uint8Array(100).subarray(50, 52);
  equal(encoder.encodeInto("abc", part), { read: 2, written: 2 }, "encodeInto a view");
  equal([part[0], part[1], new Uint8Array(part.buffer)[52]], [97, 98, 0], "encodeInto no further");
  throws(TypeError, () => encoder.encodeInto("a", []), "encodeInto an array");

  equal(decoder.decode(), "", "decode nothing");
  equal(decode(0x61, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80), "aé€😀", "decode widths");
  equal(decode(0x61, 0xff, 0x62), "a\ufffdb", "decode an invalid byte");
  equal(decode(0xe2, 0x82), "\ufffd", "decode a cut character");
  equal(decode(0xf0, 0x80, 0x80, 0x80), "\ufffd\ufffd\ufffd\ufffd", "decode an overlong form");
  equal(decode(0xed, 0xa0, 0x80), "\ufffd\ufffd\ufffd", "decode a surrogate");
  equal(decode(0xef, 0xbb, 0xbf, 0x61), "a", "decode drops a BOM");
  equal(new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)), "\ufeffa", "ignoreBOM");
  equal(decoder.decode(Uint8Array.of(1, 97, 98, 1).subarray(1, 3)), "ab", "decode a view");
  equal(decoder.decode(Uint8Array.of(97, 98).buffer), "ab", "decode a buffer");
  equal(decoder.decode(new DataView(Uint8Array.of(97, 98).buffer, 1)), "b", "decode a DataView");
  equal(decoder.decode(new Uint8Array(100_000).fill(97)).length, 100_000, "decode a long text");

  const fatal = new TextDecoder(" UTF8 ", { fatal: true });
  equal([fatal.encoding, fatal.fatal, fatal.ignoreBOM, decoder.fatal], ["utf-8", true, false, false], "attributes");
  equal(fatal.decode(Uint8Array.of(0xc3, 0xa9)), "é", "fatal decodes what is valid");
  throws(TypeError, () => fatal.decode(Uint8Array.of(0xc3)), "fatal and invalid");
  throws(TypeError, () => decoder.decode("text"), "decode a string");
  throws(TypeError, () => decoder.decode(into, { stream: true }), "streaming");
  throws(RangeError, () => new TextDecoder("latin1"), "another encoding");
  throws(TypeError, () => TextDecoder(), "TextDecoder without new");
  throws(TypeError, () => TextEncoder(), "TextEncoder without new");
  throws(TypeError, () => decoder.decode.call({}, into), "decode of something else");
  equal(encoder.encoding, "utf-8", "encoding");
  equal(`${encoder.constructor.name} ${decoder.constructor.name}`, "TextEncoder TextDecoder", "names");
  return encoder.encode("ok");
}
