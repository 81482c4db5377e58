// Refreshes the live parts of a page; without JavaScript the reader reloads the page.
"use strict";

const SECONDS = 15;
const live = () => document.querySelectorAll("[data-live]");
const offline = document.getElementById("offline");

// Replaces only the parts that differ, so that a screen reader announces changes alone and the focus is not lost.
const update = (page) => {
  for (const old of live()) {
    const fresh = page.getElementById(old.id);
    old.querySelectorAll("[data-ago]").forEach((ago) => ago.replaceChildren());
    if (!fresh || fresh.innerHTML === old.innerHTML) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    old.replaceChildren(...fresh.childNodes);
    if (focused) old.querySelector(`[href="${focused}"]`)?.focus({ preventScroll: true });
  }
  document.title = page.title;
};

// States the age of what is shown, as a number in the page's language.
let loaded = Date.now();
const showAge = () => {
  const seconds = Math.round((Date.now() - loaded) / 1000).toLocaleString(document.documentElement.lang);
  for (const ago of document.querySelectorAll("[data-ago]")) ago.textContent = ago.dataset.ago.replace("{}", seconds);
};

const refresh = async () => {
  if (document.hidden) return;
  try {
    const response = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(SECONDS * 1000) });
    if (!response.ok) throw new Error(response.status);
    loaded = Date.now();
    update(new DOMParser().parseFromString(await response.text(), "text/html"));
    offline.hidden = true;
  } catch {
    offline.hidden = false; // the page shows the last state that was loaded, not the current one
  }
};

if (live().length) {
  setInterval(refresh, SECONDS * 1000);
  setInterval(showAge, 1000);
  document.addEventListener("visibilitychange", refresh);
}
