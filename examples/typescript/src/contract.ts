/** The messages of the exported contract (`estelam contract export contract --protoset`). */

import { readFileSync } from "node:fs";
import protobuf from "protobufjs";
import "protobufjs/ext/descriptor/index.js";

// The extension adds it to Root, without a type.
const root = (protobuf.Root as any).fromDescriptor(readFileSync("contract/estelam.protoset")).resolveAll() as protobuf.Root;

/** A decoded message, with the contract's names of fields; 64-bit numbers are strings, and enums numbers. */
export type Fields = Record<string, any>;

export function encode(type: string, fields: Fields): Buffer {
  const found = root.lookupType(type);
  return Buffer.from(found.encode(found.fromObject(fields)).finish());
}

export function decode(type: string, bytes: Uint8Array): Fields {
  const found = root.lookupType(type);
  return found.toObject(found.decode(bytes), { longs: String, defaults: true });
}
