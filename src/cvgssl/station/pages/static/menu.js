// The menu of all pages: how many alarms nobody has dealt with. One small number is asked for.
"use strict";

(() => {
  const place = document.getElementById("open-alarms");
  if (!place) return; // nobody has signed in
  const SECONDS = 15;

  async function look() {
    if (document.hidden) return;
    try {
      const { open } = await station.ask("/watch/alarms");
      place.hidden = !open;
      place.replaceChildren(String(open), station.make("span", { class: "sr" }, ` ${station.t("open alarms")}`));
    } catch { /* the page itself tells when the station is away */ }
  }

  setInterval(look, 1000 * SECONDS);
  document.addEventListener("visibilitychange", look);
  document.addEventListener("alarms", look); // a page that has settled one
  look();
})();
