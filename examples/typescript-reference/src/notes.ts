/** The ministry's two methods (R2.1, R2.2). */

import type { Answer, Inquiry, Service } from "./server.js";
import type { Row } from "./fixtures.js";
import { Refused } from "./refusal.js";
import type { Store } from "./store.js";

const SERVICE = "estelam.promissory.v1.PromissoryNoteInquiryService";
const KINDS: Record<number, string> = { 10: "PERSON_KIND_NATURAL", 11: "PERSON_KIND_LEGAL", 12: "PERSON_KIND_FOREIGN" };

export function notes(store: Store): Service {
  /** When each caller last got a YES about these four facts, in milliseconds since 1970. */
  const confirmed = new Map<string, number>();
  const key = (caller: string, facts: string[]): string => [caller, ...facts].join(" ");

  function check({ request, caller }: Inquiry): Answer {
    const note = store.note(request.serial!);
    const asked = [request.serial!, request.obligor_id!, request.beneficiary_id!, request.amount_rials!];
    if (note !== undefined && note.state === "ISSUED" && facts(note).join(" ") === asked.join(" ")) {
      confirmed.set(key(caller, asked), store.fixtures.now());
      return { reply: { answer: "ANSWER_YES" } };
    }
    store.checkCoverage();
    return { reply: { answer: "ANSWER_NO" }, isNo: true };
  }

  function parties({ request, caller }: Inquiry): Answer {
    if (!store.isMember(request.executive_agency_id!)) throw new Refused("AGENCY_NOT_MEMBER");
    const note = store.note(request.serial!);
    const at = note && confirmed.get(key(caller, facts(note)));
    const window = 1000 * store.fixtures.manifest.window_seconds;
    if (note === undefined || note.state !== "ISSUED" || at === undefined || store.fixtures.now() - at > window) {
      throw new Refused("NOTE_NOT_CONFIRMED");
    }
    return { reply: { obligor: party(note, "obligor"), beneficiary: party(note, "holder") } };
  }

  const methods = { [`${SERVICE}/CheckNote`]: check, [`${SERVICE}/GetNoteParties`]: parties };
  return { methods, isServing: () => store.isAvailable, store };
}

function facts(note: Row): string[] {
  return [note.serial!, note.obligor_id!, note.holder_id!, note.amount_rials!];
}

function party(note: Row, side: string): object {
  const id = note[`${side}_id`]!;
  const stated = { address: note[`${side}_address`]!, postal_code: note[`${side}_postal_code`]! };
  const given = Object.fromEntries(Object.entries(stated).filter(([, value]) => value !== ""));
  return { kind: KINDS[id.length], id, full_name: note[`${side}_name`], ...given };
}
