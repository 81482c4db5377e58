/** A refusal, and its gRPC status with the details of google.rpc. */

import { Metadata, type ServiceError, type status } from "@grpc/grpc-js";
import type { Contract } from "./contract.js";

export interface Violation {
  field: string;
  rule: string;
}

export class Refused extends Error {
  constructor(
    readonly reason: string,
    readonly more: { violations?: Violation[]; quota?: { subject: string; description: string }; retrySeconds?: number } = {},
  ) {
    super(reason);
  }
}

/** Returns the error with which grpc-js ends the call. */
export function statusOf(contract: Contract, refused: Refused, trailers: Metadata, isForwarding: boolean): Partial<ServiceError> {
  const spec = contract.reason(refused.reason);
  const { violations, quota, retrySeconds } = refused.more;
  const seconds = retrySeconds ?? spec.retry_seconds;
  const details: { type: string; message: object }[] = [
    { type: "ErrorInfo", message: { reason: spec.reason, domain: contract.facts.domain, metadata: [{ key: "layer", value: spec.layer }] } },
    { type: "LocalizedMessage", message: { locale: "fa", message: spec.fa } },
    { type: "LocalizedMessage", message: { locale: "en", message: spec.en } },
  ];
  if (violations) details.push({ type: "BadRequest", message: { field_violations: violations.map((each) => described(contract, each)) } });
  if (quota) details.push({ type: "QuotaFailure", message: { violations: [quota] } });
  if (seconds !== null) {
    const nanos = Math.floor((seconds % 1) * 1000) * 1_000_000;
    details.push({ type: "RetryInfo", message: { retry_delay: { seconds: Math.floor(seconds), nanos } } });
  }
  const metadata = trailers.clone();
  metadata.set("grpc-status-details-bin", contract.encode("google.rpc.Status", {
    code: spec.code,
    message: spec.en,
    details: details.map(({ type, message }) => ({
      type_url: `type.googleapis.com/google.rpc.${type}`,
      value: contract.encode(`google.rpc.${type}`, message),
    })),
  }));
  const pushback = isForwarding ? "forbidden" : spec.pushback;
  const milliseconds = Math.floor((seconds ?? 0) * 1000 * (1 + Math.random())) + 1;
  const isSoon = (seconds ?? 0) <= contract.limit("delay that a retry pushback states");
  if (pushback !== "free") {
    metadata.set("grpc-retry-pushback-ms", pushback === "delayed" && isSoon ? String(milliseconds) : "-1");
  }
  return { code: spec.code as status, details: spec.en, metadata };
}

function described(contract: Contract, violation: Violation): object {
  const rule = contract.facts.rules.find((each) => each.rule === violation.rule);
  const localized_message = { locale: "fa", message: rule?.fa ?? "" };
  return { field: violation.field, reason: violation.rule, description: rule?.en ?? "", localized_message };
}
