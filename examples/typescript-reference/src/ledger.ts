/** The ledger: an entry and a signed checkpoint for each inquiry, and a receipt for each answer. */

import { createHmac, createPrivateKey, createPublicKey, randomBytes, sign, verify, X509Certificate, type KeyObject } from "node:crypto";
import type { Contract } from "./contract.js";
import { leafHash, rootOf, sha256, Tree } from "./tree.js";

const ENTRY = "estelam.inquiry.v1.Entry";

/** What is recorded of an inquiry. */
export interface Draft {
  inquiryId: string;
  caller: string;
  method: string;
  outcome: "OUTCOME_YES" | "OUTCOME_NO" | "OUTCOME_DISCLOSED" | "OUTCOME_REFUSED";
  refusal?: string;
  request?: Record<string, string>;
  reply?: object;
  nonce?: string;
  receivedAt: number;
}

export class Ledger {
  private readonly tree = new Tree();
  private readonly key: KeyObject;
  private readonly keyHash: Buffer;
  private readonly origin: string;
  private readonly secret = randomBytes(32);

  constructor(private readonly contract: Contract, service: string, key: Buffer, certificate: Buffer, private readonly now: () => number) {
    this.key = createPrivateKey(key);
    this.origin = `estelam/${service}/${organizationOf(certificate)}`;
    const raw = createPublicKey(this.key).export({ type: "spki", format: "der" }).subarray(-32);
    this.keyHash = sha256(Buffer.from(`${this.origin}\n\x01`), raw).subarray(0, 4);
  }

  /** Records an inquiry and returns its receipt. */
  record(draft: Draft): object {
    const { request: requestName, reply: replyName } = this.contract.messages(draft.method);
    const request = draft.request ? this.contract.encode(requestName, draft.request) : Buffer.alloc(0);
    const reply = draft.reply ? this.contract.encode(replyName, draft.reply) : Buffer.alloc(0);
    const salt = randomBytes(16);
    const micros = Math.floor(this.now() * 1000);
    const agency = draft.reply && draft.request?.executive_agency_id;
    const entry = this.contract.encode(ENTRY, {
      inquiry_id: Buffer.from(draft.inquiryId.replaceAll("-", ""), "hex"),
      answered_at_micros: String(micros),
      caller: draft.caller,
      method: draft.method,
      ...(agency && { agency }),
      outcome: draft.outcome,
      ...(draft.refusal && { refusal: draft.refusal }),
      latency_micros: Math.max(1, Math.floor((performance.now() - draft.receivedAt) * 1000)),
      ...(draft.reply && { commitment: commitment(salt, request, reply) }),
      keys_commitment: sha256(this.searchKeys(draft, request)),
      ...(draft.nonce && { nonce: sha256(Buffer.from(draft.nonce)) }),
    });
    const index = this.tree.size;
    this.tree.append(leafHash(entry));
    return {
      inquiry_id: draft.inquiryId,
      answered_at: { seconds: Math.floor(micros / 1_000_000), nanos: (micros % 1_000_000) * 1000 },
      request,
      reply,
      entry,
      salt,
      index: String(index),
      inclusion_path: this.tree.path(index),
      checkpoint: this.checkpoint(),
    };
  }

  private searchKeys(draft: Draft, request: Buffer): Buffer {
    const hashed = (text: string): Buffer => createHmac("sha256", this.secret).update(text).digest();
    return this.contract.encode("estelam.inquiry.v1.SearchKeys", {
      salt: randomBytes(16),
      key_id: "t1",
      subjects: Object.entries(draft.request ?? {}).map(([field, value]) => hashed(`${field}:${value}`)),
      question: hashed(`${draft.method}:${request.toString("hex")}`),
    });
  }

  private checkpoint(): string {
    const body = `${this.origin}\n${this.tree.size}\n${this.tree.root.toString("base64")}\n`;
    const signature = Buffer.concat([this.keyHash, sign(null, Buffer.from(body), this.key)]);
    return `${body}\n— ${this.origin} ${signature.toString("base64")}\n`;
  }
}

function organizationOf(certificate: Buffer): string {
  return /^organizationIdentifier=([0-9]{11})$/m.exec(new X509Certificate(certificate).subject)![1]!;
}

function commitment(salt: Uint8Array, request: Uint8Array, reply: Uint8Array): Buffer {
  return sha256(salt, sha256(request), sha256(reply));
}

/** Returns whether the receipt proves that the holder of the key answered `request` of `method` with `reply`. */
export function isProven(contract: Contract, key: KeyObject, method: string, request: object, reply: Record<string, any>): boolean {
  const { receipt, ...bare } = reply;
  if (receipt === undefined) return false;
  const names = contract.messages(method);
  const entry = contract.decode(ENTRY, receipt.entry);
  const [body, signature] = receipt.checkpoint.split("\n\n") as [string, string];
  const [, size, root] = body.split("\n") as [string, string, string];
  const signed = Buffer.from(signature.trim().split(" ")[2]!, "base64").subarray(4);
  const index = Number(receipt.index ?? 0);
  const proven = rootOf(leafHash(receipt.entry), index, Number(size), receipt.inclusion_path ?? []);
  return (
    verify(null, Buffer.from(`${body}\n`), key, signed) &&
    proven?.toString("base64") === root &&
    entry.method === method &&
    commitment(receipt.salt, receipt.request, receipt.reply).equals(entry.commitment) &&
    contract.encode(names.request, request).equals(receipt.request) &&
    contract.encode(names.reply, bare).equals(receipt.reply)
  );
}
