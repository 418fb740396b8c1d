// Watch: the middle of the page again and again, and what to do where pictures have changed.
"use strict";

(() => {
  const { t, ask, say, localTimes } = station;
  const now = document.getElementById("now");
  const SECONDS = 3;

  async function refresh() {
    const answer = await fetch("/watch/now", { headers: { Accept: "application/json" } });
    if (answer.status === 401) location.reload();
    if (!answer.ok) return;
    now.innerHTML = await answer.text(); // made by the template, which escapes
    localTimes(now);
  }

  /** Not while somebody chooses a label, is on a button, or looks at another page. */
  function isQuiet() {
    const chosen = [...now.querySelectorAll("select")].some((each) => each.value);
    return !document.hidden && !chosen && !now.contains(document.activeElement);
  }

  setInterval(() => { if (isQuiet()) refresh().catch(() => {}); }, 1000 * SECONDS);

  /** Labels close no alarm: re-centring and what else can be done stay at hand. */
  const chosenLabels = () => [...now.querySelectorAll("select[data-number]")].filter((each) => each.value);
  async function keepLabels() {
    const chosen = chosenLabels();
    if (!chosen.length) {
      say(t("Choose what the pictures show first."));
      return;
    }
    for (const each of chosen) {
      await ask("/review/give", { number: Number(each.dataset.number), label: each.value });
    }
    say(t("{n} labels were kept for the next recognizer and for re-centring.", { n: chosen.length }));
    await refresh();
  }

  now.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    button.disabled = true;
    try {
      const number = Number(button.dataset.alarm ?? button.dataset.recentre);
      if (button.dataset.recentre) {
        if (chosenLabels().length) await keepLabels();
        const made = await ask("/watch/recentre", { number });
        say(t("Version {n} was made, with {m} labels of the new pictures; compare it on the page Models before it goes live.", { n: made.version, m: made.labels }));
        await refresh();
      } else if (button.dataset.label) {
        await keepLabels();
      } else {
        await ask("/watch/settle", { number, how: button.dataset.settle });
        await refresh();
      }
    } catch (error) {
      say(error.message);
    } finally {
      button.disabled = false;
    }
  });
})();
