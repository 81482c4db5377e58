// The board keeps itself fresh; without a script it is read anew by hand.
"use strict";

const SECONDS = 15;
const live = () => document.querySelectorAll("[data-live]");
const lost = document.getElementById("lost");

// Only what differs is put in place, so that a screen reader tells of changes alone and no focus is lost for nothing.
const take = (page) => {
  for (const old of live()) {
    const fresh = page.getElementById(old.id);
    if (!fresh || fresh.innerHTML === old.innerHTML) continue;
    const held = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceChildren(...fresh.childNodes);
    if (held) old.querySelector(`[href="${held}"]`)?.focus({ preventScroll: true });
  }
  document.title = page.title;
};

const look = async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(SECONDS * 1000) });
    if (!answer.ok) throw new Error(answer.status);
    take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    lost.hidden = true;
  } catch {
    lost.hidden = false; // what stands here is not the present
  }
};

if (live().length) {
  setInterval(look, SECONDS * 1000);
  document.addEventListener("visibilitychange", look);
}
