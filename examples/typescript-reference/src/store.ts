/** The facts, and what permits a NO. */

import type { Fixtures, Row } from "./fixtures.js";
import { Refused } from "./refusal.js";

/** The column by which a change names the rows of each file. */
const KEYS: Record<string, string> = { notes: "serial", agencies: "agency_id", cases: "case_number" };

export type State = "" | "empty" | "down";

export class Store {
  private readonly loaded = new Map<string, Row[]>();

  constructor(readonly fixtures: Fixtures, private readonly state: State) {
    for (const name of Object.keys(KEYS)) this.loaded.set(name, state === "" ? fixtures.rows(name) : []);
  }

  /** Returns the rows of a file as they are now, after the changes in the steering file. */
  private rows(name: string): Row[] {
    const key = KEYS[name]!;
    let rows = this.loaded.get(name)!;
    for (const line of this.state === "" ? this.fixtures.steered("changes") : []) {
      const change = JSON.parse(line) as { data: string; key: string; rows: Row[] };
      if (change.data === name) rows = [...rows.filter((row) => row[key] !== change.key), ...change.rows];
    }
    return rows;
  }

  get cases(): Row[] {
    return this.rows("cases");
  }

  isMember(agency: string): boolean {
    return this.rows("agencies").some((row) => row.agency_id === agency);
  }

  get isAvailable(): boolean {
    return this.state !== "down";
  }

  checkAvailable(): void {
    if (!this.isAvailable) throw new Refused("STORE_UNAVAILABLE");
  }

  note(serial: string): Row | undefined {
    return this.rows("notes").find((row) => row.serial === serial);
  }

  /** Returns the declared coverage, if there is one. */
  get coverage(): { since: string; asOf: string } | undefined {
    const { since, as_of: asOf } = this.fixtures.manifest;
    return this.state === "" ? { since, asOf } : undefined;
  }

  /** Refuses a NO that the data does not support. */
  checkCoverage(): void {
    const { as_of: asOf, max_staleness_seconds: limit } = this.fixtures.manifest;
    if (this.state === "empty") throw new Refused("COVERAGE_UNDECLARED");
    if (this.fixtures.now() - Date.parse(asOf) > 1000 * limit) throw new Refused("DATA_STALE");
  }
}
