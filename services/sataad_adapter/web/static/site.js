// Progressive enhancement: every function of the page works without this script.
"use strict";

const result = document.querySelector("[data-focus]");
if (result) result.focus({ preventScroll: true });

for (const link of document.querySelectorAll(".alert a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelector(link.hash).focus();
  });
}

for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", (event) => {
    if (event.submitter?.hasAttribute("formaction")) return; // the switch of the language asks nothing
    const button = form.querySelector("button");
    button.disabled = true;
    button.textContent = form.dataset.busy;
  });
}

// Show the amount in words while it is typed, so that an extra zero is noticed. The words come from the page.
const ascii = (text) =>
  text.replace(/[۰-۹]/g, (d) => "۰۱۲۳۴۵۶۷۸۹".indexOf(d)).replace(/[٠-٩]/g, (d) => "٠١٢٣٤٥٦٧٨٩".indexOf(d));

const inWords = (value, words) => {
  if (value === 0n) return words.ones[0];
  const groups = [];
  for (let rest = value, scale = 0; rest; rest /= 1000n, scale++) {
    const group = Number(rest % 1000n);
    if (!group) continue;
    const parts = group >= 100 ? [words.hundreds[Math.floor(group / 100)]] : [];
    const below = group % 100;
    const tens = words.tens[Math.floor(below / 10)];
    if (below >= 20) parts.push(below % 10 ? tens + words.ones_join + words.ones[below % 10] : tens);
    else if (below) parts.push(words.ones[below]);
    groups.unshift(`${parts.join(words.tens_join)} ${words.scales[scale]}`.trim());
  }
  return groups.join(words.scales_join);
};

for (const amount of document.querySelectorAll("#amount_rials")) {
  const shown = document.getElementById("amount_words");
  const words = JSON.parse(shown.dataset.words);
  const show = () => {
    const digits = ascii(amount.value).replace(/[\s,_'،٬]/g, "");
    const rials = /^[0-9]{1,19}$/.test(digits) ? BigInt(digits) : 0n;
    const lines = rials ? [[rials, words.rial]] : [];
    if (rials && rials % 10n === 0n) lines.push([rials / 10n, words.toman]);
    shown.replaceChildren(
      ...lines.map(([value, unit]) => {
        const line = document.createElement("p");
        const figures = value.toLocaleString(document.documentElement.lang);
        line.textContent = `${figures} ${unit}: ${inWords(value, words)} ${unit}`;
        return line;
      }),
    );
  };
  amount.addEventListener("input", show);
}

// Count down to the time at which the same inquiry may help; until then the button asks nothing.
for (const timer of document.querySelectorAll("[data-wait]")) {
  const button = timer.closest("form").querySelector("button");
  const end = performance.now() + 1000 * timer.dataset.wait;
  const show = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    button.disabled = left > 0;
    const count = Math.max(left, 0).toLocaleString(document.documentElement.lang);
    timer.textContent = left > 0 ? timer.dataset.text.replace("#", count) : timer.dataset.over;
    if (left > 0) setTimeout(show, 1000);
  };
  show();
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy);
    text.select();
    try {
      await navigator.clipboard.writeText(text.value);
      button.textContent = button.dataset.done;
    } catch {
      // The text is selected, to be copied with the keyboard.
    }
  });
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

// A file that is dropped anywhere on the page is chosen, and does not replace the page.
for (const file of document.querySelectorAll('input[type="file"]')) {
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length === 1) file.files = event.dataTransfer.files;
  });
}

// A list on its way is shown anew; that asks nothing.
for (const running of document.querySelectorAll("[data-reload]")) {
  setTimeout(() => location.reload(), 1000 * running.dataset.reload);
}

// A page restored from the back/forward cache still shows its form as busy: reload it.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
