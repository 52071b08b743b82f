// Titles of invoices: says what is wrong with a tax number before the form is sent; the server checks it again.
"use strict";

(() => {
  const ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY";
  const form = document.getElementById("title-form");
  const number = document.getElementById("tax_number");
  const told = document.getElementById("tax-number-fault");

  function checkCharacter(code) {
    let total = 0;
    let weight = 1;
    for (const one of code.slice(0, 17)) {
      total += ALPHABET.indexOf(one) * weight;
      weight = (weight * 3) % 31;
    }
    return ALPHABET[(31 - (total % 31)) % 31];
  }

  function fault() {
    const text = number.value.replace(/\s/g, "").toUpperCase();
    if (form.elements.kind.value === "personal") return text ? "person" : "";
    if (!text) return "none";
    if (text.length === 15) return /^[0-9]{6}[0-9A-Z]{9}$/.test(text) ? "" : "old";
    if (text.length !== 18) return "length";
    const fits = /^.{2}[0-9]{6}/.test(text) && [...text].every((one) => ALPHABET.includes(one));
    if (!fits) return "characters";
    return text[17] === checkCharacter(text) ? "" : "check";
  }

  function look(show) {
    const found = fault();
    const sentence = found ? form.dataset[found] : "";
    number.setCustomValidity(sentence);
    number.required = form.elements.kind.value === "company";
    if (show || !sentence) {
      told.textContent = sentence;
      if (sentence) number.setAttribute("aria-invalid", "true");
      else number.removeAttribute("aria-invalid");
    }
  }

  number.addEventListener("input", () => look(false));
  number.addEventListener("blur", () => look(number.value !== ""));
  number.addEventListener("invalid", () => look(true));
  for (const kind of form.elements.kind) kind.addEventListener("change", () => look(number.value !== ""));
  look(false);
})();
