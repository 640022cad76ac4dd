// Keeps what runs up to date: asks for each running operation on the page, and loads the page again once one has ended.
"use strict";
(() => {
  const EVERY_MS = 1500, SLOWEST_MS = 15000, SPEAK_MS = 20000;

  function show(part, told) {
    for (const place of part.querySelectorAll("[data-live]")) {
      const what = place.dataset.live;
      if (what === "share") place.value = told.share;
      else if (what === "state") { place.firstElementChild.textContent = told.state; place.firstElementChild.className = `state ${told.state}`; }
      else if (what === "counted") place.textContent = told.counted || told.stage;
      else if (what !== "spoken") place.textContent = told[what] === "" ? "–" : told[what];
    }
  }

  // A screen reader hears of it now and then, not at every change.
  function speak(part, told, spokenAt) {
    const place = part.querySelector('[data-live="spoken"]');
    if (!place || Date.now() - spokenAt < SPEAK_MS) return spokenAt;
    place.textContent = [told.state, told.counted, told.left && `${told.left} to go`].filter(Boolean).join(", ");
    return Date.now();
  }

  async function follow(part) {
    const id = encodeURIComponent(part.dataset.operation);
    let pause = EVERY_MS, spokenAt = Date.now();
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      if (document.hidden) continue;
      try {
        const reply = await fetch(`/operations/${id}/progress`, { redirect: "error", headers: { Accept: "application/json" } });
        if (reply.status === 404) return;
        if (!reply.ok) throw new Error(`${reply.status}`);
        const told = await reply.json();
        show(part, told);
        spokenAt = speak(part, told, spokenAt);
        if (told.done) { location.reload(); return; }
        pause = EVERY_MS;
      } catch {
        pause = Math.min(2 * pause, SLOWEST_MS);
      }
    }
  }

  for (const part of document.querySelectorAll("[data-operation]")) follow(part);
})();
