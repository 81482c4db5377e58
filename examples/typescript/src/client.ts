/**
 * Asks CheckNote about notes: mTLS, deadline, retries, error details, and no answer without a valid receipt.
 *
 *     node dist/client.js TARGET PKI OBLIGOR BENEFICIARY AMOUNT SERIAL...    prints the answer about each serial
 *     node dist/client.js testdata DIR                                       checks this program with the test vectors
 */

import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { decode, encode, type Fields } from "./contract.js";
import { organizationOf, proven, replyType } from "./receipt.js";

const METHOD = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote";
const DEADLINE_MS = 5000;
const MAX_CALLS = 3;
const CLOCK_MS = 60_000;
const ANSWERS: Record<number, string> = { 1: "YES", 2: "NO" };

interface Problem {
  reason: string;
  layer: string;
  retryMs: number | undefined;
  fields: string[];
}

/** Returns what the error details say: google.rpc.Status, as it comes in grpc-status-details-bin. */
function describe(wire: Buffer): Problem {
  const found: Problem = { reason: "", layer: "-", retryMs: undefined, fields: [] };
  for (const { type_url, value } of decode("google.rpc.Status", wire).details) {
    const type = type_url.split("/").pop();
    if (!["google.rpc.ErrorInfo", "google.rpc.RetryInfo", "google.rpc.BadRequest"].includes(type)) continue;
    const detail = decode(type, value);
    if (detail.reason) found.reason = detail.reason;
    for (const { key, value } of detail.metadata ?? []) if (key === "layer") found.layer = value;
    if (detail.retry_delay) found.retryMs = Number(detail.retry_delay.seconds) * 1000 + detail.retry_delay.nanos / 1e6;
    for (const each of detail.field_violations ?? []) found.fields.push(each.field);
  }
  return found;
}

/** Returns how long to wait before the next call; nothing: don't call again. */
function waitMs(error: ServiceError, problem: Problem, calls: number): number | undefined {
  const [pushback] = error.metadata.get("grpc-retry-pushback-ms");
  if (pushback !== undefined) return Number(pushback) < 0 ? undefined : Number(pushback);
  if (error.code !== status.UNAVAILABLE && error.code !== status.CANCELLED) return undefined;
  return problem.retryMs ?? 100 * 2 ** calls;
}

function call(client: Client, request: Buffer, nonce: string): Promise<Fields> {
  const metadata = new Metadata();
  metadata.set("x-nonce", nonce);
  return new Promise((resolve, reject) => {
    const read = (bytes: Buffer) => decode("estelam.promissory.v1.CheckNoteResponse", bytes);
    client.makeUnaryRequest(`/${METHOD}`, (bytes: Buffer) => bytes, read, request, metadata,
      { deadline: Date.now() + DEADLINE_MS }, (error, reply) => (error ? reject(error) : resolve(reply!)));
  });
}

/** Returns YES or NO, or why there is no answer. */
async function ask(client: Client, note: Fields, certificate: Buffer, caller: string): Promise<string> {
  const request = encode("estelam.promissory.v1.CheckNoteRequest", note);
  const end = Date.now() + 2 * DEADLINE_MS;
  for (let calls = 1; ; calls++) {
    const nonce = randomBytes(16).toString("base64url");
    try {
      const reply = await call(client, request, nonce);
      if (!(reply.answer in ANSWERS)) return "NO ANSWER UNSPECIFIED"; // unspecified is never a NO
      const entry = proven(certificate, METHOD, request, reply);
      const hash = createHash("sha256").update(nonce).digest();
      // The receipt must be of this very call, and not a genuine one of another.
      const isNow = entry && Math.abs(Number(entry.answered_at_micros) / 1000 - Date.now()) < CLOCK_MS;
      if (!isNow || entry.caller !== caller || !hash.equals(entry.nonce)) return "NO ANSWER BAD_RECEIPT";
      return ANSWERS[reply.answer]!;
    } catch (failed) {
      const error = failed as ServiceError;
      if (error.metadata === undefined) throw error;
      const [details] = error.metadata.get("grpc-status-details-bin");
      const problem = describe((details as Buffer | undefined) ?? Buffer.alloc(0));
      const wait = waitMs(error, problem, calls);
      if (wait === undefined || calls === MAX_CALLS || Date.now() + wait > end) {
        const fields = problem.fields.length ? ` ${problem.fields.join(",")}` : "";
        return `NO ANSWER ${problem.reason || status[error.code]} ${problem.layer} after ${calls} calls${fields}`;
      }
      await sleep(wait);
    }
  }
}

function checkTestdata(folder: string): void {
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
  const { certificate, receipts } = read("receipts.json");
  for (const { name, method, request, reply } of receipts) {
    const bytes = (text: string) => Buffer.from(text, "base64");
    const isProven = proven(certificate, method, bytes(request), decode(replyType(method), bytes(reply)));
    console.log(`receipt ${name}: ${isProven ? "valid" : "invalid"}`);
  }
  for (const { status_details } of read("errors.json").errors) {
    const { reason, layer, retryMs, fields } = describe(Buffer.from(status_details, "base64"));
    console.log(`error ${reason}: ${layer} ${retryMs ?? "-"} ${fields.join(",") || "-"}`);
  }
}

const [target, pki, obligor_id, beneficiary_id, amount_rials, ...serials] = process.argv.slice(2) as [string, string, string, string, string];
if (target === "testdata") {
  checkTestdata(pki);
} else {
  const [ca, key, own, provider] = ["ca.crt", "setad.key", "setad.crt", "promissory-receipts.crt"].map((name) => readFileSync(join(pki, name)));
  const options = { "grpc.enable_retries": 0 }; // this program retries by itself
  const client = new Client(target, credentials.createSsl(ca!, key!, own!), options);
  for (const serial of serials as string[]) {
    console.log(serial, await ask(client, { serial, obligor_id, beneficiary_id, amount_rials }, provider!, organizationOf(own!)));
  }
  client.close();
}
