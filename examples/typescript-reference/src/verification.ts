/** VerifyNote: the ministry's two methods in one. */

import { X509Certificate } from "node:crypto";
import { Client, credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import type { Contract } from "./contract.js";
import type { Fixtures } from "./fixtures.js";
import { isProven } from "./ledger.js";
import { Refused } from "./refusal.js";
import type { Answer, Inquiry, Service } from "./server.js";

const MINISTRY = "estelam.promissory.v1.PromissoryNoteInquiryService";

export function verification(contract: Contract, fixtures: Fixtures, address: string, signer: string): Service {
  const identity = credentials.createSsl(fixtures.pki("ca.crt"), fixtures.pki("setad.key"), fixtures.pki("setad.crt"));
  const signingKey = new X509Certificate(fixtures.pki(`${signer}.crt`)).publicKey;
  const client = new Client(address, identity, { "grpc.enable_retries": 0 });

  function call(name: string, request: object, inquiry: Inquiry): Promise<Record<string, any>> {
    const { request: asked, reply: answered } = contract.messages(`${MINISTRY}/${name}`);
    return new Promise((resolve, reject) =>
      client.makeUnaryRequest(
        `/${MINISTRY}/${name}`,
        (message: object) => contract.encode(asked, message),
        (bytes: Buffer) => contract.type(answered).toObject(contract.type(answered).decode(bytes), { longs: String, enums: String }),
        request,
        new Metadata(),
        { deadline: inquiry.deadline },
        (error, reply) => {
          if (error) reject(refusalOf(contract, error));
          else if (!proves(name, request, reply!)) reject(new Refused("PROVIDER_UNPROVEN"));
          else resolve(reply!);
        },
      ),
    );
  }

  /** Returns whether the receipt proves the reply; one that can't be read proves nothing. */
  function proves(name: string, request: object, reply: Record<string, any>): boolean {
    try {
      return isProven(contract, signingKey, `${MINISTRY}/${name}`, request, reply);
    } catch {
      return false;
    }
  }

  async function verify(inquiry: Inquiry): Promise<Answer> {
    const { serial, obligor_id, beneficiary_id, amount_rials, executive_agency_id } = inquiry.request;
    const { receipt: check_receipt, answer } = await call("CheckNote", { serial, obligor_id, beneficiary_id, amount_rials }, inquiry);
    if (answer !== "ANSWER_YES") return { reply: { answer, ...(check_receipt && { check_receipt }) }, isNo: true };
    const found = await call("GetNoteParties", { serial, executive_agency_id }, inquiry);
    const { receipt: parties_receipt, obligor, beneficiary } = found;
    if (obligor.id !== obligor_id || beneficiary.id !== beneficiary_id) throw new Refused("PROVIDER_CONTRADICTS");
    const receipts = { ...(check_receipt && { check_receipt }), ...(parties_receipt && { parties_receipt }) };
    return { reply: { answer, obligor, beneficiary, ...receipts } };
  }

  const isServing = (): Promise<boolean> =>
    new Promise((resolve) => client.waitForReady(Date.now() + 1000, (error) => resolve(error === undefined)));
  return { methods: { "estelam.setad.v1.NoteVerificationService/VerifyNote": verify }, isServing };
}

/** Returns the ministry's refusal with its own reason, or that it gave no answer. */
function refusalOf(contract: Contract, error: ServiceError): Refused {
  const bytes = error.metadata.get("grpc-status-details-bin")[0];
  const details: any[] = bytes instanceof Buffer ? contract.decode("google.rpc.Status", bytes).details : [];
  const unpack = (type: string): Record<string, any> | undefined => {
    const detail = details.find((each) => each.type_url.endsWith(`/google.rpc.${type}`));
    return detail && contract.decode(`google.rpc.${type}`, detail.value);
  };
  const info = unpack("ErrorInfo");
  if (info?.domain !== contract.facts.domain) {
    return new Refused(error.code === status.DEADLINE_EXCEEDED ? "ANSWER_LATE" : "PROVIDER_UNAVAILABLE");
  }
  const violations = unpack("BadRequest")?.field_violations.map((each: any) => ({ field: each.field, rule: each.reason }));
  const delay = unpack("RetryInfo")?.retry_delay;
  const retrySeconds = delay && Number(delay.seconds) + delay.nanos / 1e9;
  return new Refused(info!.reason, { ...(violations && { violations }), ...(delay && { retrySeconds }) });
}
