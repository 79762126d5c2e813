"use strict";
// Fetches the page again and puts its content in place of the old. Without this the page is as it was loaded.
(() => {
  const live = () => document.querySelector("main[data-live]");
  if (!live()) return;
  let refreshed = 0;
  const refresh = async () => {
    if (document.hidden) return;
    let fresh = null;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (answer.ok) {
        fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main[data-live]");
      }
    } catch {
      // Told by what follows.
    }
    if (!fresh) {
      live().classList.add("stale");
      return;
    }
    for (const open of live().querySelectorAll("details[open][id]")) {
      fresh.querySelector("#" + CSS.escape(open.id))?.setAttribute("open", "");
    }
    live().replaceWith(document.adoptNode(fresh));
    refreshed += 1;
    document.documentElement.dataset.refreshed = refreshed;
  };
  setInterval(refresh, 5000);
  document.addEventListener("visibilitychange", refresh);
})();
