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
  form.addEventListener("submit", () => {
    const button = form.querySelector("button");
    button.disabled = true;
    button.textContent = form.dataset.busy;
  });
}

// Show the amount with digit grouping while it is typed, so that an extra zero is noticed.
const ascii = (text) =>
  text.replace(/[۰-۹]/g, (d) => "۰۱۲۳۴۵۶۷۸۹".indexOf(d)).replace(/[٠-٩]/g, (d) => "٠١٢٣٤٥٦٧٨٩".indexOf(d));

for (const amount of document.querySelectorAll("#amount_rials")) {
  const hint = document.getElementById("amount_rials_hint");
  const label = hint.textContent;
  const show = () => {
    const digits = ascii(amount.value).replace(/[\s,_'،٬]/g, "");
    const whole = /^[0-9]{1,19}$/.test(digits);
    hint.textContent = whole ? `${label}: ${BigInt(digits).toLocaleString(document.documentElement.lang)}` : label;
  };
  amount.addEventListener("input", show);
  show();
}

// A page restored from the back/forward cache still shows its form as busy: reload it.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
