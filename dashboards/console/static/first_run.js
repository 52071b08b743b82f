// The first run: asks which steps are done until all are.
"use strict";

(() => {
  const EVERY_MS = 3000;
  const names = ["apps", "key", "event"];

  async function look() {
    try {
      const answer = await fetch("/first-run/state", { headers: { accept: "application/json" } });
      if (answer.ok && !answer.redirected) {
        const steps = await answer.json();
        for (const name of names) document.getElementById(`step-${name}`).classList.toggle("done", steps[name]);
        document.getElementById("waiting").hidden = !steps.apps || steps.event;
        document.getElementById("onward").hidden = !steps.event;
        if (steps.event) return;
      }
    } catch {
      // The network is away; it is asked again.
    }
    setTimeout(look, EVERY_MS);
  }

  setTimeout(look, EVERY_MS);
})();
