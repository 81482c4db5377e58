// What the page does better with a script; it does all of it without.
"use strict";

const told = document.querySelector("[data-focus]");
if (told) told.focus({ preventScroll: true });

for (const link of document.querySelectorAll(".mend a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    document.querySelector(link.hash).focus();
  });
}

for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button");
    button.disabled = true;
    button.textContent = form.dataset.busy;
  });
}

// The amount, grouped as it is typed, so that a zero too many is seen.
const ascii = (text) =>
  text.replace(/[۰-۹]/g, (d) => "۰۱۲۳۴۵۶۷۸۹".indexOf(d)).replace(/[٠-٩]/g, (d) => "٠١٢٣٤٥٦٧٨٩".indexOf(d));

for (const amount of document.querySelectorAll("#amount_rials")) {
  const hint = document.getElementById("amount_rials_hint");
  const said = hint.textContent;
  const show = () => {
    const digits = ascii(amount.value).replace(/[\s,_'،٬]/g, "");
    const whole = /^[0-9]{1,19}$/.test(digits);
    hint.textContent = whole ? `${said}: ${BigInt(digits).toLocaleString(document.documentElement.lang)}` : said;
  };
  amount.addEventListener("input", show);
  show();
}

// Back from the page's memory, a form is not busy any more.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
