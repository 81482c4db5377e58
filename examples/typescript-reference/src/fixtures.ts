/** The conformance kit's fixtures, and its steering files, which are read at each call. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

export type Row = Record<string, string>;

const DAY_IN_IRAN = new Intl.DateTimeFormat("en-CA", { timeZone: "Asia/Tehran" });

export class Fixtures {
  readonly manifest: { as_of: string; since: string; max_staleness_seconds: number; window_seconds: number };

  constructor(readonly folder: string) {
    this.manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  }

  rows(name: string): Row[] {
    return JSON.parse(readFileSync(join(this.folder, "data", `${name}.json`), "utf8"));
  }

  pki(name: string): Buffer {
    return readFileSync(join(this.folder, "pki", name));
  }

  /** Returns the target's time in milliseconds since 1970. */
  now(): number {
    return Date.now() + 1000 * Number(readFileSync(join(this.folder, "steering", "offset"), "ascii"));
  }

  /** Returns the lines of a steering file. */
  steered(name: string): string[] {
    return readFileSync(join(this.folder, "steering", name), "utf8").split("\n").filter((line) => line !== "");
  }

  /** Returns today in Iran, as YYYY-MM-DD. */
  today(): string {
    return DAY_IN_IRAN.format(this.now());
  }
}
