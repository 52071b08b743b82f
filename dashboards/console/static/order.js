// An order's page: shows the order anew once it has changed.
"use strict";

(() => {
  const EVERY_MS = 1500;
  const page = document.getElementById("order");

  async function look() {
    try {
      const answer = await fetch(page.dataset.state, { headers: { accept: "application/json" } });
      if (answer.ok && !answer.redirected && String((await answer.json()).version) !== page.dataset.version) {
        location.replace(page.dataset.address);
        return;
      }
    } catch {
      // The network is away; it is asked again.
    }
    setTimeout(look, EVERY_MS);
  }

  setTimeout(look, EVERY_MS);
})();
