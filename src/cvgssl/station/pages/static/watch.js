// Watch: the middle of the page again and again, and what to do where pictures have changed.
"use strict";

(() => {
  const { t, ask, say, localTimes, isForPage, classButtons, onKey, sameClass } = station;
  const now = document.getElementById("now");
  const SECONDS = 3;
  const chosen = new Map(); // number of an answer -> the class that its picture was given here
  let current = null; // number of the one that keys are for
  let keys = [];

  async function refresh() {
    const answer = await fetch("/watch/now", { headers: { Accept: "application/json" } });
    if (answer.status === 401) location.reload();
    if (!answer.ok) return;
    const focused = document.activeElement.closest("#now [data-focus]")?.dataset.focus;
    now.innerHTML = await answer.text(); // made by the template, which escapes
    localTimes(now);
    hideMissing();
    showChosen();
    if (!focused) return;
    // what has gone with its card leaves the focus at what came of it
    const same = now.querySelector(`[data-focus="${CSS.escape(focused)}"]`);
    (same ?? now.querySelector("[data-focus=made]") ?? now).focus();
  }

  /** Not while somebody chooses labels, which are of the pictures that are shown, or looks at another page. */
  function isQuiet() {
    return !document.hidden && !chosen.size && !document.activeElement.closest("#naming-new, #settling");
  }

  setInterval(() => { if (isQuiet()) refresh().catch(() => {}); }, 1000 * SECONDS);

  const pictures = () => [...now.querySelectorAll("[data-picture]")];

  /** What was chosen, and the class buttons of the picture that is current. */
  function showChosen() {
    const all = pictures();
    if (!all.length) return;
    const numbers = all.map((each) => Number(each.dataset.picture));
    for (const number of chosen.keys()) if (!numbers.includes(number)) chosen.delete(number);
    if (!numbers.includes(current)) current = numbers[0];
    for (const each of all) {
      const number = Number(each.dataset.picture);
      each.querySelector("[data-focus]").setAttribute("aria-pressed", String(number === current));
      each.querySelector(".chosen").textContent = chosen.get(number) ?? "";
    }
    keys = JSON.parse(document.getElementById("settling").dataset.keys);
    const likely = JSON.parse(all[numbers.indexOf(current)].dataset.likely);
    const buttons = classButtons(keys, likely, choose);
    for (const button of buttons) button.dataset.focus = `class ${button.querySelector("span").textContent}`;
    document.getElementById("keys").replaceChildren(...buttons);
  }

  /** The current picture shows this; the next one without a label is current then. */
  function choose(name) {
    const focused = document.activeElement.closest("#keys [data-focus]")?.dataset.focus;
    chosen.set(current, name);
    current = pictures().map((each) => Number(each.dataset.picture)).find((number) => !chosen.has(number)) ?? current;
    showChosen();
    if (focused) now.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  /** Labels close no alarm: re-centring and what else can be done stay at hand. */
  async function keepLabels() {
    if (!chosen.size) {
      say(t("Choose what the pictures show first."));
      return;
    }
    let kept = 0;
    for (const [number, label] of chosen) {
      try {
        await ask("/review/give", { number, label });
        kept += 1;
      } catch (error) {
        if (error.status !== 409) throw error; // what others said meanwhile counts
      }
      chosen.delete(number);
    }
    say(kept ? t("{n} labels were kept for the next recognizer and for re-centring.", { n: kept })
      : t("Somebody else was there first."));
    await refresh();
  }

  async function pressed(button) {
    const number = Number(button.dataset.alarm);
    if (button.dataset.focus === "keep") return keepLabels();
    if (button.dataset.focus === "recentre") {
      if (chosen.size) await keepLabels();
      await ask("/watch/recentre", { number });
    } else {
      await ask("/watch/settle", { number, how: button.dataset.settle });
    }
    chosen.clear();
    document.dispatchEvent(new Event("alarms"));
    return refresh();
  }

  /** Labelled pictures that the station does not have, such as of a recognizer made elsewhere. */
  function hideMissing() {
    for (const image of now.querySelectorAll("img.nearest")) {
      const hide = () => { image.hidden = true; };
      if (image.complete && !image.naturalWidth) hide();
      else image.addEventListener("error", hide);
    }
  }

  now.addEventListener("click", async (event) => {
    const picture = event.target.closest("[data-picture] button");
    if (picture) {
      current = Number(picture.closest("[data-picture]").dataset.picture);
      showChosen();
      return;
    }
    const button = event.target.closest("button[data-alarm]");
    if (!button || button.ariaDisabled === "true") return;
    button.ariaDisabled = "true"; // a disabled one would lose the focus
    try {
      await pressed(button);
    } catch (error) {
      say(error.message);
    } finally {
      button.ariaDisabled = null;
    }
  });
  now.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = document.getElementById("new-name");
    const name = field.value.trim();
    field.value = "";
    field.blur();
    if (name) choose(sameClass(name, keys.map(([known]) => known)));
  });
  now.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.id === "new-name") { event.target.value = ""; event.target.blur(); }
  });
  document.addEventListener("keydown", (event) => {
    if (!isForPage(event) || !document.getElementById("settling")) return;
    const name = onKey(event, keys);
    if (name) choose(name);
    else if (event.key.toLowerCase() === "n") {
      event.preventDefault();
      document.getElementById("new-name").focus();
    }
  });
  hideMissing();
  showChosen();
})();
