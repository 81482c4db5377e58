/** The exported contract: messages and methods from the descriptor set, reasons and limits from errors.json. */

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import protobuf from "protobufjs";
import "protobufjs/ext/descriptor/index.js";

export interface Reason {
  reason: string;
  code: number;
  layer: string;
  en: string;
  fa: string;
  retry_seconds: number | null;
  pushback: "forbidden" | "delayed" | "free";
}

interface Facts {
  domain: string;
  reasons: Reason[];
  rules: { rule: string; en: string; fa: string }[];
  limits: { name: string; value: number }[];
}

export class Contract {
  readonly facts: Facts;
  private readonly root: protobuf.Root;
  private readonly types = new Map<string, protobuf.Type>();

  /** Reads what `estelam contract export DIR --protoset` wrote: the descriptor set `file`, and errors.json beside it. */
  constructor(file: string) {
    // The extension adds it to Root, without a type.
    this.root = (protobuf.Root as any).fromDescriptor(readFileSync(file)) as protobuf.Root;
    this.root.resolveAll();
    this.facts = JSON.parse(readFileSync(join(dirname(file), "errors.json"), "utf8"));
  }

  type(name: string): protobuf.Type {
    const found = this.types.get(name) ?? this.root.lookupType(name);
    this.types.set(name, found);
    return found;
  }

  /** Fields have the names of the contract, and a map is a list of entries: the extension does not convert them. */
  encode(name: string, message: object): Buffer {
    const type = this.type(name);
    return Buffer.from(type.encode(type.fromObject(message)).finish());
  }

  decode(name: string, bytes: Uint8Array): Record<string, any> {
    const type = this.type(name);
    return type.toObject(type.decode(bytes), { longs: String, defaults: true });
  }

  /** Returns the full name of the request or reply message of a method, package.Service/Method. */
  messages(method: string): { request: string; reply: string } {
    const [service, name] = method.split("/") as [string, string];
    const found = this.root.lookupService(service).methods[name];
    if (found === undefined) throw new Error(`${method}: no such method`);
    found.resolve();
    return { request: found.resolvedRequestType!.fullName.slice(1), reply: found.resolvedResponseType!.fullName.slice(1) };
  }

  reason(name: string): Reason {
    const found = this.facts.reasons.find((each) => each.reason === name);
    if (found === undefined) throw new Error(`${name}: no such reason`);
    return found;
  }

  limit(name: string): number {
    const found = this.facts.limits.find((each) => each.name === name);
    if (found === undefined) throw new Error(`${name}: no such limit`);
    return found.value;
  }
}
