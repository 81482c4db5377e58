/** Verifies that a receipt proves a reply: docs/receipts.md in Persian and English says what that means. */

import { createHash, verify, X509Certificate } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { decode, type Fields } from "./contract.js";

const OUTCOMES: Record<number, number> = { 1: 1, 2: 2, 3: 0 }; // of an entry, with the answer of its reply

function sha256(...parts: Uint8Array[]): Buffer {
  return parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();
}

export function replyType(method: string): string {
  return method.replace("/", ".").replace(/\w+Service\.(\w+)$/, "$1Response");
}

export function organizationOf(certificate: Buffer | string): string {
  return /^organizationIdentifier=(.+)$/m.exec(new X509Certificate(certificate).subject)![1]!;
}

/** Returns the ledger's entry if `reply` to `request` of `method` is proven by its receipt; else nothing. */
export function proven(certificate: Buffer | string, method: string, request: Buffer, reply: Fields): Fields | undefined {
  const { receipt, ...bare } = reply;
  if (!receipt) return undefined;
  const entry = decode("estelam.inquiry.v1.Entry", receipt.entry);
  // 1 The receipt holds this question and this answer, and 2 the entry commits to them.
  const committed = sha256(receipt.salt, sha256(receipt.request), sha256(receipt.reply));
  const { receipt: _none, ...stated } = decode(replyType(method), receipt.reply);
  const isOwn = request.equals(receipt.request) && isDeepStrictEqual(stated, bare);
  const agrees = entry.method === method && OUTCOMES[entry.outcome] === (reply.answer ?? 0);
  if (!isOwn || !agrees || !committed.equals(entry.commitment)) return undefined;
  // 3 The checkpoint's tree has the entry.
  const [body, lines] = receipt.checkpoint.split("\n\n") as [string, string | undefined];
  const [origin, size, root] = body.split("\n") as [string, string | undefined, string | undefined];
  if (lines === undefined || size === undefined) return undefined;
  const above = rootAbove(sha256(Buffer.of(0), receipt.entry), BigInt(receipt.index), BigInt(size), receipt.inclusion_path);
  if (above?.toString("base64") !== root) return undefined;
  // 4 The provider's key has signed the checkpoint of its own ledger, when its certificate was valid.
  const { publicKey, validFrom, validTo } = new X509Certificate(certificate);
  const [seconds, service] = [Number(BigInt(entry.answered_at_micros) / 1_000_000n), method.split(".")[1]];
  const isValid = Date.parse(validFrom) <= seconds * 1000 && seconds * 1000 <= Date.parse(validTo);
  if (!isValid || origin !== `estelam/${service}/${organizationOf(certificate)}`) return undefined;
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  const name = sha256(Buffer.from(`${origin}\n\x01`), raw).subarray(0, 4);
  const isSigned = lines.split("\n").some((line) => {
    const [, signer, text] = /^— (\S+) (\S+)$/.exec(line) ?? [];
    const signature = Buffer.from(text ?? "", "base64");
    return signer === origin && signature.subarray(0, 4).equals(name) &&
      verify(null, Buffer.from(`${body}\n`), publicKey, signature.subarray(4));
  });
  return isSigned ? entry : undefined;
}

/** Returns the root above a leaf (RFC 9162); nothing if the path has too few or too many nodes. */
function rootAbove(leaf: Buffer, index: bigint, size: bigint, path: Buffer[]): Buffer | undefined {
  if (index >= size) return undefined;
  const nodes = [...path];
  let node = leaf;
  for (let i = index, end = size - 1n; end > 0n; i >>= 1n, end >>= 1n) {
    if (!(i & 1n) && i === end) continue; // no sibling at this level
    const sibling = nodes.shift();
    if (!sibling) return undefined;
    node = i & 1n ? sha256(Buffer.of(1), sibling, node) : sha256(Buffer.of(1), node, sibling);
  }
  return nodes.length ? undefined : node;
}
