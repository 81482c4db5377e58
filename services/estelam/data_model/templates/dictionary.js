"use strict";
const box = document.getElementById("find");
const count = document.getElementById("count");
const rows = Array.from(document.querySelectorAll("tbody tr"));
// Normalize characters that keyboards produce in two forms: Persian and Arabic letters and digits.
const normalize = (text) => text.normalize("NFKC").toLowerCase()
  .replace(/[۰-۹]/g, (digit) => digit.charCodeAt(0) - 0x06f0)
  .replace(/[٠-٩]/g, (digit) => digit.charCodeAt(0) - 0x0660)
  .replace(/[يى]/g, "ی").replace(/ك/g, "ک").replace(/[أإآ]/g, "ا").replace(/[\u200c\u200d\u064b-\u0652]/g, " ")
  .replace(/\s+/g, " ").trim();
const searchable = rows.map((row) => normalize(row.closest("section").querySelector("header").textContent + " " + row.textContent));
const filter = () => {
  const terms = normalize(box.value).split(" ");
  rows.forEach((row, at) => { row.hidden = !terms.every((term) => searchable[at].includes(term)); });
  document.querySelectorAll("section").forEach((section) => {
    section.hidden = !section.querySelector("tbody tr:not([hidden])");
  });
  count.textContent = rows.filter((row) => !row.hidden).length + " / " + rows.length;
};
box.closest(".find").hidden = false;
box.addEventListener("input", filter);
filter();
