/** The facts, and what permits a NO. */

import type { Fixtures, Row } from "./fixtures.js";
import { Refused } from "./refusal.js";

export type State = "" | "empty" | "down";

export class Store {
  readonly agencies: Set<string>;
  readonly cases: Row[];
  private readonly notes: Map<string, Row>;
  private readonly endorsements: Map<string, Row>;

  constructor(readonly fixtures: Fixtures, private readonly state: State) {
    const rows = (name: string): Row[] => (state === "empty" ? [] : fixtures.rows(name));
    this.notes = new Map(rows("notes").map((row) => [row.serial!, row]));
    this.endorsements = new Map(rows("endorsements").map((row) => [row.serial!, row]));
    this.agencies = new Set(rows("agencies").map((row) => row.agency_id!));
    this.cases = rows("cases");
  }

  get isAvailable(): boolean {
    return this.state !== "down";
  }

  checkAvailable(): void {
    if (!this.isAvailable) throw new Refused("STORE_UNAVAILABLE");
  }

  note(serial: string): Row | undefined {
    const endorsed = this.fixtures.steered("endorsed").includes(serial) ? this.endorsements.get(serial) : undefined;
    return endorsed ?? this.notes.get(serial);
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
