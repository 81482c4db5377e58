/** The rules of the contract's fields and of metadata, as its comments and errors.json state them. */

import type { Metadata } from "@grpc/grpc-js";
import type { Contract } from "./contract.js";
import { Refused, type Violation } from "./refusal.js";

const LEGAL_WEIGHTS = [29, 27, 23, 19, 17, 29, 27, 23, 19, 17];
const PURPOSES = ["x-inquiry-id", "x-case-reference", "x-operator"];

function person(id: string): string[] {
  if (!/^[0-9]{10,12}$/.test(id)) return ["string.person_id.form"];
  const digits = [...id].map(Number);
  if (id.length === 10 && !isNationalNumber(digits)) return ["string.person_id.national_number"];
  if (id.length === 11 && !isLegalPerson(digits)) return ["string.person_id.legal_person"];
  return [];
}

function isNationalNumber(digits: number[]): boolean {
  const check = digits[9]!;
  const remainder = digits.slice(0, 9).reduce((sum, digit, place) => sum + digit * (10 - place), 0) % 11;
  return new Set(digits).size > 1 && check === (remainder < 2 ? remainder : 11 - remainder);
}

function isLegalPerson(digits: number[]): boolean {
  const tenth = digits[9]! + 2;
  const sum = LEGAL_WEIGHTS.reduce((total, weight, place) => total + weight * (digits[place]! + tenth), 0);
  const middle = digits.slice(3, 9).some((digit) => digit !== 0);
  return new Set(digits).size > 1 && middle && digits[10] === (sum % 11) % 10;
}

const RULES: Record<string, (value: string) => string[]> = {
  serial: (value) => (/^[0-9]{16}$/.test(value) ? [] : ["string.note_serial"]),
  obligor_id: person,
  beneficiary_id: person,
  national_id: person,
  tracking_id: (value) => (/^[0-9]{1,32}$/.test(value) ? [] : ["string.tracking_id"]),
  executive_agency_id: (value) => (/^[0-9A-Za-z-]{1,32}$/.test(value) ? [] : ["string.agency_id"]),
  amount_rials: (value) => (BigInt(value) > 0n ? [] : ["int64.gt"]),
};

/** Parses and validates the bytes of a request. */
export function parse(contract: Contract, name: string, bytes: Buffer): Record<string, string> {
  if (bytes.length > contract.limit("request")) throw new Refused("REQUEST_TOO_LARGE");
  const type = contract.type(name);
  let request: Record<string, string>;
  try {
    request = contract.decode(name, bytes);
    checkFields(bytes, new Set(type.fieldsArray.map((field) => (field.id << 3) | (field.type === "string" ? 2 : 0))));
  } catch (error) {
    throw error instanceof Refused ? error : new Refused("REQUEST_MALFORMED");
  }
  const violations: Violation[] = type.fieldsArray.flatMap((field) =>
    RULES[field.name]!(request[field.name]!).map((rule) => ({ field: field.name, rule })),
  );
  if (violations.length > 0) throw new Refused("FIELD_INVALID", { violations });
  return request;
}

/** Refuses fields that are not of the message, which the library skips, and what it reads without complaint. */
function checkFields(bytes: Buffer, known: Set<number>): void {
  let at = 0;
  let isUnknown = false;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw new Refused("REQUEST_MALFORMED");
  };
  const skip = (wireType: number): void => {
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const length = Number(varint());
      at += length;
    } else if (wireType === 3) {
      for (let tag = tagAt(); tag.wireType !== 4; tag = tagAt()) skip(tag.wireType);
    } else throw new Refused("REQUEST_MALFORMED");
    if (at > bytes.length) throw new Refused("REQUEST_MALFORMED");
  };
  const tagAt = (): { field: number; wireType: number } => {
    const tag = Number(varint());
    const field = Math.floor(tag / 8);
    if (field === 0 || tag > 0xffffffff) throw new Refused("REQUEST_MALFORMED");
    return { field, wireType: tag % 8 };
  };
  while (at < bytes.length) {
    const { field, wireType } = tagAt();
    const start = at;
    skip(wireType);
    const tag = field * 8 + wireType;
    if (!known.has(tag)) isUnknown = true;
    else if (wireType === 2) checkText(bytes.subarray(start, at));
  }
  if (isUnknown) throw new Refused("FIELD_UNKNOWN");
}

function checkText(lengthAndText: Buffer): void {
  const start = lengthAndText.findIndex((byte) => byte < 128) + 1;
  new TextDecoder("utf-8", { fatal: true }).decode(lengthAndText.subarray(start));
}

/** Parses the purpose metadata and returns the caller's own id, as it was sent. */
export function checkMetadata(metadata: Metadata, required: string[]): string | undefined {
  for (const key of PURPOSES) {
    const values = metadata.get(key);
    if (values.length > 1 || values.some((value) => !isPurpose(String(value)))) {
      throw new Refused("METADATA_MALFORMED", { violations: [{ field: key, rule: "metadata.form" }] });
    }
  }
  const nonce = metadata.get("x-nonce");
  if (nonce.length > 1 || nonce.some((value) => !/^[0-9A-Za-z_-]{22,64}$/.test(String(value)))) {
    throw new Refused("METADATA_MALFORMED", { violations: [{ field: "x-nonce", rule: "metadata.nonce" }] });
  }
  for (const key of required) {
    if (metadata.get(key).length === 0) {
      throw new Refused("METADATA_REQUIRED", { violations: [{ field: key, rule: "metadata.required" }] });
    }
  }
  return metadata.get("x-inquiry-id")[0] as string | undefined;
}

function isPurpose(value: string): boolean {
  if (!/^(?:[0-9A-Za-z._~:/-]|%[0-9A-Fa-f]{2}){1,768}$/.test(value)) return false;
  try {
    const text = decodeURIComponent(value).normalize("NFC");
    const isVisible = !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(text.replace(/[\u200c\u200d]/g, ""));
    return isVisible && [...text].length <= 64 && text.trim() !== "";
  } catch {
    return false; // not UTF-8
  }
}
