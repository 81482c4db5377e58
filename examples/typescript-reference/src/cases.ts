/** The judiciary's two methods (R3.1.1, R3.1.2). */

import type { Answer, Inquiry, Service } from "./server.js";
import type { Row } from "./fixtures.js";
import type { Store } from "./store.js";

const SERVICE = "estelam.judiciary.v1.ChequeCaseInquiryService";

export function cases(store: Store): Service {
  const covered = (): Row[] => store.cases.filter((row) => row.filed_on! >= store.fixtures.manifest.since);

  function answer(found: boolean): Answer {
    if (!found) store.checkCoverage();
    const coverage = store.coverage && {
      since: date(store.coverage.since),
      as_of: { seconds: Date.parse(store.coverage.asOf) / 1000 },
    };
    return { reply: { answer: found ? "ANSWER_YES" : "ANSWER_NO", ...(coverage && { coverage }) }, isNo: !found };
  }

  const methods = {
    [`${SERVICE}/CheckByNationalId`]: ({ request }: Inquiry) =>
      answer(covered().some((row) => row.national_id === request.national_id && ["DRAWER", ""].includes(row.role!))),
    [`${SERVICE}/CheckByTrackingId`]: ({ request }: Inquiry) => {
      const ofCertificate = store.cases.filter((row) => row.tracking_id === request.tracking_id);
      // The certificates of one cheque share its Sayad id, and a case about one is about all.
      const cheques = new Set(ofCertificate.map((row) => row.sayad_id).filter((id) => id !== ""));
      return answer(covered().some((row) => row.tracking_id === request.tracking_id || cheques.has(row.sayad_id!)));
    },
  };
  return { methods, isServing: () => store.isAvailable, store };
}

function date(text: string): object {
  const [year, month, day] = text.split("-").map(Number);
  return { year, month, day };
}
