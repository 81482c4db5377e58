// Verifies saved replies as docs/receipts.md describes, with Node.js 18 or newer and nothing else:
//
//     node check.js SAVED CERTIFICATES [RETIRED_KEYS]
//
// Exit 0: every line is VALID; 1: one is INVALID; 2: MALFORMED, or a file can't be used; 21: NOT CHECKED.
"use strict";
const { X509Certificate, createHash, verify } = require("crypto");
const fs = require("fs");

const EXITS = { INVALID: 1, MALFORMED: 2, "NOT CHECKED": 21 };
const OUTCOMES = ["?", "YES", "NO", "DISCLOSED"];
const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;
const RECEIPT = { 1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: BYTES, 6: BYTES, 7: FIXED64, 8: BYTES, 9: BYTES };
const TIMESTAMP = { 1: VARINT, 2: VARINT };
const NOTE = /^(([^\s+]+)\n(0|[1-9][0-9]*)\n(\S+)\n)\n((?:— [^\n]+\n)+)$/;
const MAX_LINE = 65536;
const END_OF_TIME = 253402300800n; // seconds, the year 10000

class Problem extends Error {
  constructor(verdict, text) { super(text); this.verdict = verdict; }
}
const fail = (verdict, text) => { throw new Problem(verdict, text); };
const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const instant = (seconds) => new Date(Number(seconds) * 1000).toISOString().replace(".000", "");

// Protobuf: the fields of a message in their order: number, type, value and whether it is encoded shortly.
function parse(bytes) {
  const fields = [];
  let at = 0, short = true;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (at >= bytes.length) fail("MALFORMED", "a message is damaged");
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) { if (shift && !byte) short = false; return BigInt.asUintN(64, value); }
    }
    return fail("MALFORMED", "a message is damaged");
  };
  const take = (count) => {
    if (count > bytes.length - at) fail("MALFORMED", "a message is damaged");
    return bytes.subarray(at, at += count);
  };
  while (at < bytes.length) {
    short = true;
    const tag = varint(), number = Number(tag >> 3n), type = Number(tag & 7n);
    if (number < 1 || number >= 2 ** 29) fail("MALFORMED", "a message is damaged");
    const value = type === VARINT ? varint() : type === FIXED64 ? take(8).readBigUInt64LE() :
      type === BYTES ? take(Number(varint())) : type === FIXED32 ? BigInt(take(4).readUInt32LE()) :
      fail("MALFORMED", "a message is damaged");
    fields.push({ number, type, value, short });
  }
  return fields;
}

const all = (fields, number, type) => fields.filter((f) => f.number === number && f.type === type).map((f) => f.value);
const last = (fields, number, type) => all(fields, number, type).pop() ?? (type === BYTES ? Buffer.alloc(0) : 0n);

// Whether a message is as protobuf writes it: fields in order, none twice or with its default, unknown ones at the end.
function isCanonical(fields, types) {
  let before = 0, unknown = false;
  return fields.every(({ number, type, value, short }) => {
    if (types[number] !== type) return (unknown = true);
    const repeated = types === RECEIPT && number === 8, message = types === RECEIPT && number === 2;
    const isDefault = type === BYTES ? value.length === 0 : value === 0n;
    const right = !unknown && short && (number > before || (repeated && number === before)) &&
      (!isDefault || repeated || message);
    before = number;
    return right;
  });
}

function utf8(bytes) {
  try { return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes); }
  catch { return fail("MALFORMED", "a text is damaged"); }
}

function base64(text, problem) {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : fail("MALFORMED", problem);
}

// A certificate stands on lines of its own; what is before, between and after is passed over.
const PEM =
  /(?<![^\n])-----BEGIN CERTIFICATE-----[ \t]*\r?\n(?:[A-Za-z0-9+/=]+[ \t]*\r?\n)+-----END CERTIFICATE-----[ \t]*\r?(?![^\n])/g;

// A list of retired keys has no other text, and no escapes.
const TEXT = '_"[0-9A-Za-z_:-]*"_', ROW = `_\\{${TEXT}:${TEXT}(?:,${TEXT}:${TEXT}){2}\\}_`;
const LIST = new RegExp(
  `^_\\{_"retired"_:_\\[(?:${ROW}(?:,${ROW})*|_)\\]_\\}_$`.replace(/_(?!:-)/g, "[ \\t\\r\\n]*"));

const unusable = (file, problem) => fail("MALFORMED", `${file}: ${problem}`);
const PROBLEMS = { ENOENT: "no such file", EISDIR: "is a directory", EACCES: "permission denied" };

function opened(file, open) {
  try { return open(file); }
  catch (error) { return unusable(file, PROBLEMS[error.code] ?? error.message); }
}
const read = (file) => opened(file, fs.readFileSync);

function isDer(content) {
  try { return content[0] === 0x30 && Boolean(new X509Certificate(content)); }
  catch { return false; }
}

// The public keys of all signing certificates in a file, 32 bytes each in hexadecimal; authorities are left out.
function signingKeys(file) {
  const keys = new Map(), content = read(file), text = content.toString(), blocks = [...text.matchAll(PEM)];
  if (isDer(content))
    unusable(file, `is a certificate in DER form (convert it: openssl x509 -inform DER -in ${file} -out NEW)`);
  if (blocks.length !== text.split("-----BEGIN CERTIFICATE-----").length - 1)
    unusable(file, "holds a damaged certificate");
  for (const [pem] of blocks) {
    let certificate;
    try { certificate = new X509Certificate(pem); }
    catch { unusable(file, "holds a damaged certificate"); }
    if (certificate.ca) continue;
    const usage = /0603551d0f(?:0101ff)?04..03....(..)/.exec(certificate.raw.toString("hex")); // its DER form
    if (certificate.publicKey.asymmetricKeyType !== "ed25519" || (usage && !(parseInt(usage[1], 16) & 128)))
      unusable(file, "holds a certificate that does not sign receipts");
    const der = certificate.publicKey.export({ type: "spki", format: "der" });
    const name = der.subarray(-32).toString("hex");
    const known = keys.get(name) ??
      { public: certificate.publicKey, id: sha256(der).toString("hex"), periods: [], organizations: new Set() };
    const named = [...certificate.subject.matchAll(/^organizationIdentifier=(.*)$/gm)];
    if (named.length === 1) known.organizations.add(named[0][1]);
    known.periods.push([certificate.validFrom, certificate.validTo].map((text) => BigInt(Date.parse(text) / 1000)));
    keys.set(name, known);
  }
  return keys.size ? keys : unusable(file, "holds no signing certificate");
}

function isRetirement({ key, retired_at: at, reason, ...more }) {
  return /^[0-9a-f]{64}$/.test(key) && /^(19|20|21)\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(at) &&
    instant(Date.parse(at) / 1000) === at && /^(superseded|compromised)$/.test(reason) && !Object.keys(more).length;
}

function retire(keys, file) {
  const text = read(file).toString().replace(/^\ufeff/, "");
  let rows, right = false;
  try {
    rows = JSON.parse(text).retired;
    right = LIST.test(text) && rows.every(isRetirement);
  } catch { /* not right */ }
  if (!right) unusable(file, "is no list of retired keys: each row has key, retired_at and reason, and nothing more");
  if (new Set(rows.map(({ key }) => key)).size !== rows.length) unusable(file, "a key is named twice");
  for (const known of keys.values()) known.retirement = rows.find(({ key }) => key === known.id);
}

// The checkpoint: what is signed, the ledger's name, size and root, and the signature lines. No signature is verified.
function parseCheckpoint(text) {
  const found = /[\0-\x09\x0b-\x1f]/.test(text) ? null : NOTE.exec(text);
  const [, body, origin, digits, encoded, rest] = found ?? fail("MALFORMED", "the checkpoint is damaged");
  const size = BigInt(digits), root = base64(encoded, "the checkpoint is damaged");
  const lines = rest.trimEnd().split("\n").map((line) => {
    const [, name, content] = /^— ([^\s+]+) (\S+)$/.exec(line) ?? fail("MALFORMED", "the checkpoint is damaged");
    const bytes = base64(content, "the checkpoint is damaged");
    return { name, hash: bytes.subarray(0, 4), signature: bytes.subarray(4) };
  });
  if (size >= 2n ** 63n || root.length !== 32 || lines.some(({ signature }) => !signature.length))
    fail("MALFORMED", "the checkpoint is damaged");
  return { body, origin, size, root, lines };
}

// RFC 9162: the root above a leaf, or null where the path has too few or too many nodes.
function rootAbove(leaf, index, size, path) {
  if (index >= size || path.some((node) => node.length !== 32)) return null;
  const nodes = [...path];
  let node = sha256(Buffer.of(0), leaf);
  for (let i = index, end = size - 1n; end > 0n; i >>= 1n, end >>= 1n) {
    if (!(i & 1n) && i === end) continue;
    const sibling = nodes.shift();
    if (!sibling) return null;
    node = i & 1n ? sha256(Buffer.of(1), sibling, node) : sha256(Buffer.of(1), node, sibling);
  }
  return nodes.length ? null : node;
}

// The key that signed the checkpoint. Lines of other keys, such as witnesses, are passed over.
function signer(checkpoint, keys) {
  let found;
  for (const [name, key] of keys) {
    const hash = sha256(Buffer.from(`${checkpoint.origin}\n\x01`), Buffer.from(name, "hex")).subarray(0, 4);
    for (const line of checkpoint.lines.filter((each) => each.name === checkpoint.origin && each.hash.equals(hash))) {
      if (!verify(null, Buffer.from(checkpoint.body), key.public, line.signature))
        fail("INVALID", "4: the signature does not match");
      found = key;
    }
  }
  return found ?? fail("NOT CHECKED", "4: it is signed with a key of none of the given certificates");
}

function checkTime({ retirement, periods }, seconds) {
  const at = instant(seconds);
  if (retirement && at >= retirement.retired_at)
    fail("INVALID", `4: the signing key was retired at ${retirement.retired_at}, not after ${at}`);
  if (retirement?.reason === "compromised")
    fail("NOT CHECKED", `4: the signing key was compromised at ${retirement.retired_at}: alone this proves nothing`);
  if (!periods.some(([first, end]) => first <= seconds && seconds <= end))
    fail("NOT CHECKED", `4: no given certificate of the signing key was valid at ${at}`);
}

function check(text, keys) {
  if (text.length >= MAX_LINE) fail("MALFORMED", "the line is too long");
  const [, encoded] = /^\{"format": "estelam-receipt\/1", "receipt": "([A-Za-z0-9+/]+=*)"\}$/.exec(text) ??
    fail("MALFORMED", "the line is not as it was saved");
  const receipt = parse(base64(encoded, "the line is not as it was saved"));
  const [id, stamp, request, reply, leaf, salt, note] = [1, 2, 3, 4, 5, 6, 9].map((n) => last(receipt, n, BYTES));
  const [time, entry, asked, answered] = [stamp, leaf, request, reply].map(parse);
  if (!isCanonical(receipt, RECEIPT) || !isCanonical(time, TIMESTAMP))
    fail("MALFORMED", "the line is not as it was saved");
  const [micros, outcome] = [last(entry, 2, FIXED64), Number(last(entry, 6, VARINT))];
  const [caller, method] = [3, 4].map((n) => utf8(last(entry, n, BYTES)));
  const seconds = micros / 1000000n;
  const [idText, noteText] = [utf8(id), utf8(note)];
  if (salt.length !== 16 || seconds >= END_OF_TIME) fail("MALFORMED", "the receipt is damaged");

  if (!(outcome >= 1 && outcome <= 3)) fail("INVALID", "1: the entry is not an answer"); // 1
  if (!sha256(salt, sha256(request), sha256(reply)).equals(last(entry, 9, BYTES))) // 2
    fail("INVALID", "2: the entry is of another request or reply");
  const checkpoint = parseCheckpoint(noteText); // 3
  const root = rootAbove(leaf, last(receipt, 7, FIXED64), checkpoint.size, all(receipt, 8, BYTES));
  if (!root?.equals(checkpoint.root)) fail("INVALID", "3: the entry is not in the ledger of the checkpoint");
  const key = signer(checkpoint, keys); // 4
  checkTime(key, seconds);
  const hex = last(entry, 1, BYTES).toString("hex"); // 5
  const uuid = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  if (uuid.length !== 36) fail("MALFORMED", "the receipt is damaged");
  const known = receipt.every(({ number, type }) => RECEIPT[number] === type) &&
    time.every(({ number, type }) => TIMESTAMP[number] === type);
  if (!known || idText !== uuid || last(time, 1, VARINT) !== seconds ||
      last(time, 2, VARINT) !== (micros % 1000000n) * 1000n)
    fail("INVALID", "5: the plain fields differ from the entry");
  const [, service, organization] = /^estelam\/([^/.]+)\/(.*)/.exec(checkpoint.origin) ?? [];
  if (!service || !method.startsWith(`estelam.${service}.`))
    fail("INVALID", "5: the ledger is not of the service whose method the entry names");
  if (!key.organizations.size) fail("NOT CHECKED", "5: no given certificate names one organisation");
  if (!key.organizations.has(organization))
    fail("INVALID", "5: the ledger is not of the organisation that the signing certificate names");
  if (outcome === 3 ? !all(answered, 1, BYTES).length : last(answered, 1, VARINT) !== BigInt(outcome))
    fail("INVALID", "5: the answer differs from the entry");

  const identifiers = [...asked].sort((a, b) => a.number - b.number).map(({ value }) => value.toString());
  return `VALID ${uuid} at ${instant(seconds)}: ${method} about ${identifiers.join(" ")} asked by ${caller}: ` +
    OUTCOMES[outcome] + (method.startsWith("estelam.judiciary.") ? coverage(answered) : "");
}

function coverage(answered) {
  const found = parse(last(answered, 2, BYTES));
  const [since, asOf] = [1, 2].map((n) => parse(last(found, n, BYTES)));
  const [year, month, day] = [1, 2, 3].map((n) => String(last(since, n, VARINT)).padStart(n === 1 ? 4 : 2, "0"));
  return (since.length ? `, complete since ${year}-${month}-${day}` : "") +
    (asOf.length ? `, true as of ${instant(last(asOf, 1, VARINT))}` : "");
}

function* lines(file) {
  const input = opened(file, fs.openSync);
  if (fs.fstatSync(input).isDirectory()) unusable(file, PROBLEMS.EISDIR);
  const chunk = Buffer.alloc(65536);
  let rest = "";
  for (let count; (count = fs.readSync(input, chunk)) > 0;) {
    const parts = (rest + chunk.latin1Slice(0, count)).split("\n");
    rest = parts.pop();
    yield* parts;
  }
  yield rest;
}

const SHORT = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };

// A text as it is printed: control and format characters, which could mislead, as escapes, but not the joiners of Persian.
function shown(text) {
  return text.replace(/(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (each) => {
    const code = each.codePointAt(0);
    const [mark, width] = code < 256 ? ["x", 2] : code < 65536 ? ["u", 4] : ["U", 8];
    return SHORT[each] ?? `\\${mark}${code.toString(16).padStart(width, "0")}`;
  });
}

function main(saved, certificates, retired, ...more) {
  let number = 0;
  try {
    if (!certificates || more.length)
      unusable("check.js", "give the saved replies, one file of certificates and, if any, the retired keys");
    const keys = signingKeys(certificates);
    if (retired) retire(keys, retired);
    for (const line of lines(saved)) {
      const text = line.replace(/^[ \t\r]+|[ \t\r]+$/g, "");
      if (!text) continue;
      number++;
      console.log(shown(check(text, keys)));
    }
    if (!number) fail("MALFORMED", "the file is empty");
    return 0;
  } catch (error) {
    console.error(`${error.verdict ?? "NOT CHECKED"}: ${number ? `reply ${number}: ` : ""}${shown(error.message)}`);
    return EXITS[error.verdict] ?? 21;
  }
}

process.exitCode = main(...process.argv.slice(2));
