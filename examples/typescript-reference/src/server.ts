/** The steps of every call: authenticate, authorize, validate, rate-limit, look up, reply. */

import { randomBytes } from "node:crypto";
import { Metadata, Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall, type ServerWritableStream } from "@grpc/grpc-js";
import { Access, authenticate, type Bucket } from "./access.js";
import type { Contract } from "./contract.js";
import type { Fixtures } from "./fixtures.js";
import { HealthService, type Health } from "./health.js";
import { Refused, statusOf } from "./refusal.js";
import type { Ledger } from "./ledger.js";
import { checkMetadata, parse } from "./rules.js";
import type { Store } from "./store.js";

export interface Inquiry {
  request: Record<string, string>;
  /** The organisation that asks. */
  caller: string;
  deadline: Date;
}

export interface Answer {
  reply: object;
  isNo?: boolean;
}

export type Methods = Record<string, (inquiry: Inquiry) => Answer | Promise<Answer>>;

/** The questions of one instance. */
export interface Service {
  methods: Methods;
  isServing: Health;
  /** Absent where another service answers, and records. */
  store?: Store;
  ledger?: Ledger;
}

/** What is known of a call so far. */
interface State {
  receivedAt: number;
  caller?: string;
  bucket?: Bucket;
}

type Call = ServerUnaryCall<Buffer, Buffer>;
type Stream = ServerWritableStream<Buffer, Buffer>;

export class Instance {
  private readonly server = new Server({
    "grpc.max_receive_message_length": 65536,
    "grpc.max_concurrent_streams": 256,
  });
  private readonly access: Access;

  constructor(private readonly contract: Contract, private readonly fixtures: Fixtures, private readonly service: Service) {
    this.access = new Access(fixtures);
    const methods = Object.entries(service.methods);
    for (const [name, method] of methods) {
      this.add(name, (call, done) => void this.handle(name, method, call, done));
    }
    const health = new HealthService(methods.map(([name]) => name.split("/")[0]!), service.isServing);
    this.add("grpc.health.v1.Health/Check", (call, done) => void health.check(call, done));
    this.add("grpc.health.v1.Health/Watch", (call: Stream) => void health.watch(call), true);
  }

  private add(name: string, handle: ((call: Call, done: sendUnaryData<Buffer>) => void) | ((call: Stream) => void), responseStream = false): void {
    const identity = (bytes: Buffer): Buffer => bytes;
    const definition = {
      path: `/${name}`,
      requestStream: false,
      responseStream,
      requestSerialize: identity,
      requestDeserialize: identity, // the bytes, so that what is no message is refused with its reason
      responseSerialize: identity,
      responseDeserialize: identity,
    };
    this.server.addService({ method: definition }, { method: handle });
  }

  /** Listens on a free port and returns the address. */
  start(service: string): Promise<string> {
    const pair = { cert_chain: this.fixtures.pki(`${service}-server.crt`), private_key: this.fixtures.pki(`${service}-server.key`) };
    const tls = ServerCredentials.createSsl(this.fixtures.pki("ca.crt"), [pair], true);
    return new Promise((resolve, reject) =>
      this.server.bindAsync("127.0.0.1:0", tls, (error, port) => (error ? reject(error) : resolve(`127.0.0.1:${port}`))),
    );
  }

  private async handle(name: string, method: Methods[string], call: Call, done: sendUnaryData<Buffer>): Promise<void> {
    const trailers = new Metadata();
    const state: State = { receivedAt: performance.now() };
    try {
      const reply = await this.process(name, method, call, trailers, state);
      state.bucket?.addTo(trailers);
      done(null, reply, trailers);
    } catch (error) {
      state.bucket?.addTo(trailers);
      const refused = error instanceof Refused ? error : new Refused("SERVICE_FAILED");
      if (refused !== error) console.error(error);
      this.recordRefusal(name, refused, trailers, state);
      done(statusOf(this.contract, refused, trailers, this.service.store === undefined));
    }
  }

  private async process(name: string, method: Methods[string], call: Call, trailers: Metadata, state: State): Promise<Buffer> {
    const certificate = call.getAuthContext().sslPeerCertificate?.raw;
    const caller = authenticate(certificate, call.metadata, this.fixtures.now());
    state.caller = caller.organization;
    trailers.set("estelam-inquiry-id", inquiryId(this.fixtures.now()));
    const grant = this.access.authorize(caller, name);
    const bucket = (state.bucket = grant.bucket);
    const messages = this.contract.messages(name);
    let request: Record<string, string>;
    try {
      const own = checkMetadata(call.metadata, grant.required);
      if (own !== undefined) trailers.set("x-inquiry-id", own);
      request = parse(this.contract, messages.request, call.request);
    } catch (error) {
      bucket.chargeRefusal();
      throw error;
    }
    bucket.acquire();
    this.service.store?.checkAvailable();
    const { reply, isNo } = await method({ request, caller: caller.organization, deadline: deadlineOf(call) });
    if (isNo) bucket.chargeNo();
    const receipt = this.service.ledger?.record({
      inquiryId: trailers.get("estelam-inquiry-id")[0] as string,
      caller: caller.organization,
      method: name,
      outcome: "answer" in reply ? (isNo ? "OUTCOME_NO" : "OUTCOME_YES") : "OUTCOME_DISCLOSED",
      request,
      reply,
      nonce: call.metadata.get("x-nonce")[0] as string | undefined,
      receivedAt: state.receivedAt,
    });
    return this.contract.encode(messages.reply, { ...reply, ...(receipt && { receipt }) });
  }

  /** Records a refusal, unless its caller is not known, or there is no store. */
  private recordRefusal(method: string, refused: Refused, trailers: Metadata, state: State): void {
    const inquiryId = trailers.get("estelam-inquiry-id")[0] as string | undefined;
    if (inquiryId === undefined || state.caller === undefined || !this.service.store?.isAvailable) return;
    const { caller, receivedAt } = state;
    this.service.ledger?.record({ inquiryId, caller, method, outcome: "OUTCOME_REFUSED", refusal: refused.reason, receivedAt });
  }
}

/** Returns when the ministry's answer must be there: early enough for a refusal to reach the caller in time. */
function deadlineOf(call: Call): Date {
  return new Date(Math.min(Number(call.getDeadline()) - 300, Date.now() + 10_000));
}

/** Returns a UUID of version 7. */
function inquiryId(now: number): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Math.floor(now), 0, 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
