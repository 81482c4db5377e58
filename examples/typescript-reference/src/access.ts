/** Who calls, what it may call, and how often. */

import { createHash, X509Certificate } from "node:crypto";
import type { Metadata } from "@grpc/grpc-js";
import type { Fixtures, Row } from "./fixtures.js";
import { Refused } from "./refusal.js";

export interface Caller {
  organization: string;
  key: string;
}

interface Certificate {
  organizations: string[];
  validFrom: number;
  validTo: number;
  /** The SHA-256 of its public key. */
  key: string;
}

/** What each certificate states: to read one takes longer than all else in a call. TLS admits no other than the authority's. */
const certificates = new Map<string, Certificate>();

function read(der: Buffer): Certificate {
  const name = der.toString("latin1");
  let found = certificates.get(name);
  if (found === undefined) {
    const parsed = new X509Certificate(der);
    const named = parsed.subject.split("\n").filter((line) => line.startsWith("organizationIdentifier="));
    found = {
      organizations: named.map((line) => line.slice("organizationIdentifier=".length)),
      validFrom: Date.parse(parsed.validFrom),
      validTo: Date.parse(parsed.validTo),
      key: createHash("sha256").update(parsed.publicKey.export({ type: "spki", format: "der" })).digest("hex"),
    };
    certificates.set(name, found);
  }
  return found;
}

/** Returns the one organisation that the certificate names. */
export function authenticate(certificate: Buffer | undefined, metadata: Metadata, now: number): Caller {
  // No proxy is trusted.
  if (certificate === undefined || metadata.get("x-forwarded-client-cert").length > 0) throw new Refused("CERTIFICATE_UNUSABLE");
  const { organizations, validFrom, validTo, key } = read(certificate);
  const [organization] = organizations;
  if (organizations.length !== 1 || !/^[0-9]{11}$/.test(organization!)) throw new Refused("CERTIFICATE_UNUSABLE");
  if (now < validFrom || now > validTo) throw new Refused("CERTIFICATE_EXPIRED");
  return { organization: organization!, key };
}

/** The tokens of one caller for one method. */
export class Bucket {
  private tokens: number;
  private filledAt = performance.now();

  constructor(private readonly method: string, private readonly rate: number, private readonly burst: number, private readonly missCost: number) {
    this.tokens = burst;
  }

  /** Takes the token that every inquiry costs. */
  acquire(): void {
    this.refill();
    if (this.tokens < 1) {
      const description = `limit ${this.burst}, remaining 0, full again in ${this.reset} s`;
      throw new Refused("QUOTA_EXHAUSTED", {
        quota: { subject: this.method, description },
        retrySeconds: (1 - this.tokens) / this.rate,
      });
    }
    this.tokens -= 1;
  }

  /** Takes a token, if there is one, for a request that was refused. */
  chargeRefusal(): void {
    this.refill();
    this.tokens = Math.min(this.tokens, Math.max(0, this.tokens - 1));
  }

  /** Takes what a NO costs more than a YES. */
  chargeNo(): void {
    this.tokens -= this.missCost - 1;
  }

  addTo(trailers: Metadata): void {
    this.refill();
    const wide = (value: number): string => String(value).padStart(9, "0");
    trailers.set("ratelimit-policy", `"${this.method}";q=${this.burst};w=${Math.max(1, Math.round(this.burst / this.rate))}`);
    trailers.set("ratelimit", `"${this.method}";r=${wide(Math.max(0, Math.floor(this.tokens)))};t=${wide(this.reset)}`);
  }

  private get reset(): number {
    return Math.ceil((this.burst - this.tokens) / this.rate);
  }

  private refill(): void {
    const now = performance.now();
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.filledAt) / 1000) * this.rate);
    this.filledAt = now;
  }
}

export interface Grant {
  bucket: Bucket;
  required: string[];
}

export class Access {
  private readonly grants: Map<string, Row>;
  private readonly buckets = new Map<string, Bucket>();
  private readonly denied: Set<string>;

  constructor(private readonly fixtures: Fixtures) {
    this.grants = new Map(fixtures.rows("grants").map((row) => [`${row.organization_id} ${row.method}`, row]));
    this.denied = new Set(fixtures.rows("denied").map((row) => row.key_sha256!));
  }

  /** Returns the grant by which the caller may call the method today. */
  authorize(caller: Caller, method: string): Grant {
    if (this.denied.has(caller.key) || this.fixtures.steered("denied").includes(caller.key)) throw new Refused("CERTIFICATE_DENIED");
    const name = `${caller.organization} ${method}`;
    const row = this.grants.get(name);
    const today = this.fixtures.today();
    if (row === undefined || today < row.since! || (row.until !== "" && today > row.until!)) throw new Refused("NOT_GRANTED");
    let bucket = this.buckets.get(name);
    if (bucket === undefined) {
      bucket = new Bucket(method.split("/")[1]!, Number(row.rate), Number(row.burst), Number(row.miss_cost));
      this.buckets.set(name, bucket);
    }
    return { bucket, required: row.required_metadata!.split(" ").filter((key) => key !== "") };
  }
}
