/**
 * `node dist/main.js CONTRACT FIXTURES [MINISTRY]`: serves every instance until stopped, and prints ROLE=ADDRESS for each.
 * MINISTRY is where the kit listens as the ministry of `setad-deceived`.
 */

import { cases } from "./cases.js";
import { Contract } from "./contract.js";
import { Fixtures } from "./fixtures.js";
import { Ledger } from "./ledger.js";
import { notes } from "./notes.js";
import { Instance, type Service } from "./server.js";
import { Store, type State } from "./store.js";
import { verification } from "./verification.js";

const NOBODY = "127.0.0.1:1";
const [, , file, folder, kitsMinistry = NOBODY] = process.argv;
if (file === undefined || folder === undefined) {
  console.error("usage: node dist/main.js CONTRACT FIXTURES [MINISTRY]");
  process.exit(2);
}
const contract = new Contract(file);
const fixtures = new Fixtures(folder);

async function start(role: string, service: Service): Promise<string> {
  const address = await new Instance(contract, fixtures, service).start(role.split("-")[0]!);
  console.log(`${role}=${address}`);
  return address;
}

let ministry = NOBODY;
for (const [service, questions] of [["promissory", notes], ["judiciary", cases]] as const) {
  for (const state of ["", "empty", "down"] as State[]) {
    const [key, certificate] = ["key", "crt"].map((kind) => fixtures.pki(`${service}-receipts.${kind}`)) as [Buffer, Buffer];
    const ledger = new Ledger(contract, service, key, certificate, () => fixtures.now());
    const role = state === "" ? service : `${service}-${state}`;
    const address = await start(role, { ...questions(new Store(fixtures, state)), ledger });
    if (service === "promissory" && state === "") ministry = address;
  }
}
await start("setad", verification(contract, fixtures, ministry, "promissory-receipts"));
await start("setad-down", verification(contract, fixtures, NOBODY, "promissory-receipts"));
await start("setad-unproven", verification(contract, fixtures, ministry, "unproven-receipts"));
await start("setad-deceived", verification(contract, fixtures, kitsMinistry, "ministry-receipts"));
