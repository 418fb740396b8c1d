"use strict";
{
  const { t, ask, say, make, isForPage, percent, classButtons, onKey, sameClass } = station;
  const byId = (id) => document.getElementById(id);
  const may = Boolean(byId("reviewing").dataset.may);
  let queue = []; // answers to look at, the one that is shown at the head
  const done = new Set(); // hashes of pictures that were reviewed or skipped here; a request may still bring them
  let keys = []; // pairs of a class and its place, as on Label
  let kind = "";
  let sending = false;
  let asking = null;

  function refill() {
    if (!may) return null;
    asking ??= ask(`/review/next?kind=${encodeURIComponent(kind)}`, {}).then((found) => {
      asking = null;
      const same = JSON.stringify(keys) === JSON.stringify(found.keys);
      keys = found.keys;
      if (!same && queue.length) showKeys();
      const known = new Set(queue.map((each) => each.sha256));
      for (const each of found.answers) {
        if (known.has(each.sha256) || done.has(each.sha256)) continue;
        queue.push(each);
        if (each.kept) new Image().src = `/kept/1280/${each.sha256}`;
      }
      show();
      if (!queue.length) setTimeout(refill, 4000); // others come while the station answers
    }, (error) => { asking = null; say(error.message); setTimeout(refill, 4000); });
    return asking;
  }

  function show() {
    const now = queue[0];
    byId("asked").hidden = byId("stage").hidden = !now;
    byId("done").hidden = Boolean(now) || !may;
    byId("nearest-card").hidden = !now;
    if (!now) {
      byId("nearest").replaceChildren();
      byId("picture").removeAttribute("src");
      byId("picture").dataset.number = "";
      return;
    }
    const image = byId("picture");
    if (image.dataset.number === String(now.number)) return;
    image.dataset.number = now.number;
    byId("naming").hidden = true;
    image.src = now.kept ? `/kept/1280/${now.sha256}` : "";
    image.alt = now.kept ? t("the picture {name}", { name: now.name }) : t("The picture is not kept any more.");
    byId("answer").textContent = answers.named(now.answer);
    byId("answer").className = `big ${now.answer === "unknown" ? "bad" : now.answer === "not sure" ? "doubt" : ""}`;
    byId("about").textContent = [now.name, t("version {n}", { n: now.version }), station.when(now.at, "second")].filter(Boolean).join(" · ");
    byId("right").firstChild.textContent = `${rightText(now)} `;
    showKeys();
    explain(now.number);
  }

  function showKeys() {
    byId("keys").replaceChildren(...classButtons(keys, queue[0].probabilities, (label) => give({ label })));
  }

  function rightText(now) {
    if (now.answer === "unknown") return t("Right: none of the classes");
    if (now.answer === "not sure") return t("It is {label}", { label: now.predicted_class });
    return t("Right");
  }

  async function explain(number) {
    byId("nearest").replaceChildren();
    try {
      const found = await ask(`/answers/${number}`);
      if (queue[0]?.number === number) byId("nearest").replaceChildren(...answers.nearest(found.nearest));
    } catch (error) { say(error.message); }
  }

  async function give(given) {
    const now = queue[0];
    if (!now || sending) return;
    sending = true;
    try {
      await ask("/review/give", { number: now.number, replaces: now.review?.number ?? null, ...given });
      const isNew = given.label && given.label !== "?" && !keys.some(([name]) => name === given.label);
      advance();
      if (isNew) refill(); // its key
      figures();
    } catch (error) {
      say(error.status === 409 ? t("Somebody else was there first.") : error.message);
      if (error.status === 409) advance();
    } finally {
      sending = false;
    }
  }

  function advance() {
    done.add(queue.shift().sha256);
    show();
    if (queue.length < 2) refill();
  }

  async function figures() {
    try {
      const found = await ask("/review/figures");
      for (const place of document.querySelectorAll("[data-left]")) {
        const left = found.left[place.dataset.left];
        place.textContent = left.toLocaleString() + (left === found.most ? "+" : "");
      }
      if (!found.shares.length) return;
      const named = (answer) => (answer === "" ? t("all classes") : answers.named(answer));
      byId("shares").replaceChildren(make("div", { class: "wide" }, make("table", {},
        make("thead", {}, make("tr", {}, make("th", {}, t("answer")), make("th", { class: "number" }, t("right")), make("th", { class: "number" }, "%"), make("th", { class: "number" }, t("95 % interval")))),
        make("tbody", {}, ...found.shares.map((each) => make("tr", {}, make("th", { scope: "row" }, named(each.answer)),
          make("td", { class: "number" }, `${each.right} / ${each.looked_at}`), make("td", { class: "number" }, each.share.toFixed(0)),
          make("td", { class: "number" }, `${each.low.toFixed(0)}–${each.high.toFixed(0)}`)))))));
    } catch (error) { say(error.message); }
  }

  /** Labels that the others contradict; Label takes them again. */
  async function suspects() {
    try {
      const found = (await ask("/review/suspects")).suspects;
      byId("suspects-card").hidden = !found.length;
      byId("suspects").replaceChildren(...found.map((each) => make("li", { class: "row" },
        make("img", { class: "small", alt: "", src: `/pool/160/${encodeURI(each.picture).replaceAll("#", "%23").replaceAll("?", "%3F")}` }),
        make("span", { class: "grow" }, t("labelled {label}; by the other labels it is {instead} ({share})", { label: each.label, instead: each.instead, share: percent(each.probability) })),
        make("a", { class: "button plain", href: `/label?picture=${encodeURIComponent(each.picture)}` }, t("Look")))));
    } catch (error) { say(error.message); }
  }

  let following;
  /** Say how far the next version is, until it is there. */
  async function follow() {
    clearTimeout(following);
    try {
      const { fit, versions } = await ask("/models/state");
      if (showFit(fit, versions)) return;
    } catch (error) { say(error.message); }
    following = setTimeout(follow, 1000);
  }

  function showFit(job, versions) {
    const place = byId("fitting");
    if (job?.state === "failed") place.replaceChildren(make("span", { class: "bad" }, job.message));
    else if (job?.state === "done") {
      place.replaceChildren(make("span", { class: "good" }, t("Version {n} is there.", { n: versions[0].number })), " ",
        make("a", { class: "button", id: "see", href: "/models" }, t("See it and make it live"), " ", make("kbd", {}, "L")));
    } else if (["waiting", "running"].includes(job?.state)) {
      if (!place.querySelector("progress")) place.replaceChildren(make("progress", { "aria-label": t("progress") }), " ", t("The next version is being made."));
      return false;
    } else place.replaceChildren();
    return true;
  }

  const actions = {
    right: () => { const now = queue[0]; if (now) give({ label: now.answer === "unknown" ? "" : now.predicted_class }); },
    wrong: () => give({ wrong: true }),
    name: () => { if (queue[0]) { byId("naming").hidden = false; byId("new-name").focus(); } },
    unsure: () => give({ label: "?" }),
    skip: async () => {
      if (!queue[0]) return;
      try { await ask("/review/skip", { number: queue[0].number }); advance(); } catch (error) { say(error.message); }
    },
    undo: async () => {
      try {
        const found = await ask("/review/undo", {});
        if (!found.answer) return say(t("There is nothing to take back."));
        done.delete(found.answer.sha256);
        queue = [found.answer, ...queue.filter((each) => each.number !== found.answer.number)];
        show();
        figures();
      } catch (error) { say(error.message); }
    },
    fit: async () => {
      try {
        await ask("/label/fit", {});
        follow();
      } catch (error) { say(error.message); }
    },
    see: () => byId("see")?.click(),
  };
  for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => actions[button.dataset.do]());
  for (const button of document.querySelectorAll("[data-kind]")) {
    button.addEventListener("click", () => {
      kind = button.dataset.kind;
      for (const each of document.querySelectorAll("[data-kind]")) each.setAttribute("aria-pressed", String(each === button));
      queue = [];
      asking = null;
      refill();
    });
  }
  byId("naming").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = byId("new-name");
    const name = field.value.trim();
    field.value = "";
    field.blur();
    if (name) give({ label: sameClass(name, keys.map(([known]) => known)) });
  });
  byId("new-name").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.target.value = ""; event.target.blur(); byId("naming").hidden = true; }
  });
  const byKey = { Enter: "right", x: "wrong", n: "name", "?": "unsure", s: "skip", u: "undo", f: "fit", l: "see" };
  document.addEventListener("keydown", (event) => {
    if (!isForPage(event) || (event.key === "Enter" && event.target.closest("button, a, summary"))) return;
    const chosen = queue.length ? onKey(event, keys) : undefined;
    const action = byKey[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (chosen !== undefined) {
      if (chosen !== null) give({ label: chosen });
    } else if (action) {
      event.preventDefault();
      actions[action]();
    }
  });
  if (!may) document.querySelectorAll("#reviewing [data-do]").forEach((each) => { each.disabled = true; });
  refill();
  figures();
  suspects();
  // one that was asked for before the page was loaded again
  ask("/models/state").then(({ fit }) => { if (["waiting", "running"].includes(fit?.state)) follow(); }, () => {});
}
