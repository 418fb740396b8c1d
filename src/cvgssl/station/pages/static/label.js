"use strict";
if (document.getElementById("labelling")) {
  const { t, ask, say, make, isForPage, percent, classButtons, onKey, sameClass } = station;
  const byId = (id) => document.getElementById(id);
  const COLORS = 10; // in the sheet, --kind0 and so on

  let now = null; // the picture that is shown
  let keys = JSON.parse(byId("labelling").dataset.keys); // pairs of a class and its place
  let state = null;
  let box = null;
  let sending = false;
  let given = 0; // number of the newest label of this page
  let timer;
  let asking;
  let turn = 0; // counts what is asked for and shown: what comes after something else was shown is old

  const src = (name, side = 1280) =>
    `/pool/${side}/${name.split("/").map(encodeURIComponent).join("/")}`;

  /** Show what is to be labelled next. */
  async function next() {
    clearTimeout(asking);
    turn += 1;
    const mine = turn;
    try {
      const answer = await ask("/label/next", {});
      if (mine !== turn) return;
      if (answer.picture) return show(answer.picture);
      show(null, answer.preparing ? t("The first pictures are being chosen.") : answer.open
        ? t("Others have the pictures that are left.") : t("All pictures have a label."));
    } catch (error) { say(error.message); }
    if (mine === turn) asking = setTimeout(next, 1000);
  }

  function show(picture, text = "", already = "") {
    if (picture) {
      clearTimeout(asking);
      turn += 1;
    }
    now = picture;
    byId("already").textContent = already;
    byId("already").hidden = !already;
    if (now?.keys) keys = now.keys;
    byId("name").textContent = now ? now.called || now.picture : text;
    const image = byId("picture");
    image.hidden = !now;
    if (now && image.dataset.shown !== now.pool + now.sha256) {
      image.dataset.shown = now.pool + now.sha256;
      image.src = `${src(now.picture)}?${now.sha256.slice(0, 16)}`;
      image.alt = t("the picture {name}", { name: now.picture });
    }
    setBox(now?.box ?? null);
    showKeys();
  }

  function showKeys() {
    byId("keys").replaceChildren(...classButtons(keys, now?.likely ?? [], give, !now));
    byId("class-names").replaceChildren(...keys.map(([name]) => make("option", { value: name })));
  }

  async function give(label) {
    if (!now || sending) return;
    sending = true;
    try {
      const answer = await ask("/label/give", { ...shown(), label, box, replaces: now.replaces });
      given = answer.number;
      await next();
    } catch (error) {
      say(error.message);
      if (error.status === 409 || error.status === 404) await next(); // labelled by others, replaced, or gone
    } finally {
      sending = false;
    }
    look();
  }

  async function take(path) {
    try {
      const { picture } = await ask(path, {});
      if (!picture) return say(t("There is nothing to take back."));
      if (path.endsWith("undo")) show(picture);
      else await next();
      look();
    } catch (error) { say(error.message); }
  }

  /** Show a picture that was labelled before. */
  async function again(suspect) {
    const who = suspect.who === "local" ? t("somebody") : suspect.who;
    try {
      const { picture } = await ask(`/label/picture?name=${encodeURIComponent(suspect.picture)}`);
      show(picture, "", t("This picture has a label: {who} called it {label}. By the other labels it is {instead} ({share}). S keeps it and goes on; another class takes its place.", { who, label: suspect.label, instead: suspect.instead, share: percent(suspect.probability) }));
      scrollTo({ top: 0 });
    } catch (error) { say(error.message); }
  }

  /** What is on the screen: the station takes a label of nothing else. */
  const shown = () => ({ pool: now.pool, picture: now.picture, sha256: now.sha256 });

  async function skip() {
    if (!now) return;
    try {
      if (now.replaces === null || now.label === "") await ask("/label/skip", shown());
      await next();
    } catch (error) { say(error.message); }
  }

  async function look() {
    clearTimeout(timer);
    let wait = 2000;
    try {
      state = await ask(`/label/state?after=${given}`);
      showState();
      if (state.after < state.last) wait = 300;
      else if (drawn !== state.after) await drawMap();
      if (state.fit && ["waiting", "running"].includes(state.fit.state)) wait = 500;
    } catch (error) { say(error.message); wait = 5000; }
    timer = setTimeout(look, wait);
  }

  function showState() {
    const { held_out: held, outlook } = state;
    const some = held && held.low !== null;
    byId("estimate").textContent = some ? `${held.low.toFixed(0)}–${held.high.toFixed(0)} %` : "–";
    byId("estimate").classList.toggle("quiet", !some || held.too_few);
    byId("estimate-note").textContent = !some
      ? t("Too few to tell: at least two classes need two labels each.")
      : (held.no_better ? t("Not shown to be better than guessing.") + " " : held.too_few ? t("Too few to tell.") + " " : "")
        + t("95 % interval of the accuracy: {n} of {held_out} labels are predicted right when held out in turn. For pictures such as these, which were chosen because they teach most.", { ...held, n: held.right })
        + (state.labelled > held.held_out ? " " + t("{n} more labels cannot be held out: each is the only one of its class.", { n: state.labelled - held.held_out }) : "");
    const all = state.labelled > 0 && state.open === 0; // then nothing is estimated of further labels
    byId("outlook").textContent = all ? "" : outlookText(outlook);
    byId("stop").hidden = !all && !outlook?.enough;
    byId("stop").textContent = all ? t("Stop here: all pictures are labelled.") : t("Stop here: further labels would hardly pay.");
    byId("unseen").textContent = all ? "" : unseenText(outlook);
    const found = new Map(state.classes.map((each) => [each.name, each]));
    const rows = keys.map(([name]) => found.get(name) ?? { name, pictures: 0 });
    rows.push(...state.classes.filter((each) => !keys.some(([name]) => name === each.name)));
    byId("classes").replaceChildren(...rows.map((each) => {
      const dot = make("span", { class: `dot kind${kind(each.name)}`, "aria-hidden": "true" });
      return make("tr", {}, make("td", {}, dot, each.name), make("td", { class: "number" }, String(state.learned[each.name] ?? 0)), make("td", { class: "number" }, String(each.pictures)));
    }));
    byId("reviewed-note").textContent = state.reviewed
      ? t("{n} of these labels come from Review: the next recognizer learns them; the figures on this page do not use them.", { n: state.reviewed }) : "";
    byId("fit").disabled = Object.keys(state.learned).length < 2;
    showFit(state.fit);
    const { live } = state;
    byId("live-note").textContent = !live ? "" : live.since
      ? t("Version {version}, of {labels} labels, is live; {since} given since.", live)
      : t("Version {version}, of these {labels} labels, is live.", live);
    showSuspects(state.suspects);
    byId("progress-note").textContent = t("{n} of {pictures} pictures have a label", { n: state.labelled, pictures: state.pictures })
      + (state.test ? "; " + t("{n} below test/ are left out: they are for testing", { n: state.test }) : "");
    byId("head").textContent = state.problem ?? t("Head: {head}; {n} labels in {seconds} s. The likely classes are its own; the recognizer itself tries other methods, too.", { head: state.head, n: state.labelled, seconds: state.seconds.toFixed(1) });
  }

  /** Number of the colour of a class: the same on all pages. */
  function kind(name) {
    const found = keys.find(([other]) => other === name);
    return found ? found[1] % COLORS : "-other";
  }

  function unseenText(outlook) {
    if (!outlook || outlook.unseen === null) return t("Too few labels to tell how many are not seen yet.");
    if (outlook.dominated) return t("Most labels are of one class: rarer kinds may well be missing.");
    if (outlook.unseen > 0.5) return t("About {n} more not seen yet.", { n: Math.round(outlook.unseen) });
    return t("No sign of a class not seen yet.");
  }

  function outlookText(outlook) {
    if (!outlook || outlook.changed === null) return t("Too few labels to tell whether more would pay.");
    if (outlook.dominated) return t("No stop is advised, because most labels are of one class: the answers stay the same even while rarer kinds are not seen yet.");
    return t("The last third of the labels changed {share} of the answers; half as many labels more may change as much.", { share: percent(outlook.changed, 1) });
  }

  function showFit(job) {
    const place = byId("fitting");
    if (place.dataset.state === (job?.state ?? "")) return; // what has the focus stays
    place.dataset.state = job?.state ?? "";
    if (!job || job.state === "cancelled") return place.replaceChildren();
    if (job.state === "failed") return place.replaceChildren(make("p", { class: "bad" }, job.message));
    if (job.state === "done") {
      const link = make("a", { class: "button", id: "see", href: "/models" }, t("See it and make it live"), " ", make("kbd", {}, "L"));
      return place.replaceChildren(make("p", { class: "good" }, t("The recognizer is there.")), link);
    }
    place.replaceChildren(make("progress", { "aria-label": t("progress") }), make("p", { class: "quiet" }, t("The recognizer is being made.")));
  }

  function showSuspects(suspects) {
    byId("suspects-card").hidden = !suspects.length;
    byId("suspects").replaceChildren(...suspects.map((each) => {
      const button = make("button", { class: "plain", type: "button" }, t("Look"));
      button.addEventListener("click", () => again(each));
      const text = t("labelled {label}; by the other labels it is {instead} ({share})", { label: each.label, instead: each.instead, share: percent(each.probability) });
      return make("li", { class: "row" }, make("img", { class: "small", alt: "", src: src(each.picture, 160) }), make("span", { class: "grow" }, text), button);
    }));
  }

  let drawn = -1;
  async function drawMap() {
    const points = await ask("/label/points");
    if (!points.ready) return;
    drawn = state.after;
    const canvas = byId("map");
    const pen = canvas.getContext("2d");
    const size = canvas.width;
    const place = (share) => 12 + share * (size - 24);
    const sheet = getComputedStyle(document.documentElement);
    const colors = points.classes.map((name) => sheet.getPropertyValue(`--kind${kind(name)}`));
    const color = (index) => colors[index] ?? sheet.getPropertyValue("--kind-other");
    pen.clearRect(0, 0, size, size);
    const dot = points.x.length > 2000 ? 4 : 6;
    pen.globalAlpha = 0.55;
    points.answers.forEach((answer, row) => {
      pen.fillStyle = color(answer);
      pen.fillRect(place(points.x[row]) - dot / 2, place(points.y[row]) - dot / 2, dot, dot);
    });
    pen.globalAlpha = 1;
    pen.strokeStyle = getComputedStyle(document.body).color;
    points.labels.forEach((label, row) => {
      if (label < 0) return;
      pen.beginPath();
      pen.arc(place(points.x[row]), place(points.y[row]), 9, 0, 7);
      pen.fillStyle = color(label);
      pen.fill();
      pen.stroke();
    });
  }

  function setBox(next) {
    box = next;
    const rect = byId("box");
    rect.toggleAttribute("hidden", !box);
    if (!box) return;
    const [left, top, right, bottom] = box;
    const frame = shownFrame();
    const place = (share, low, high) => low + share * (high - low);
    rect.setAttribute("x", place(left, frame.left, frame.right));
    rect.setAttribute("y", place(top, frame.top, frame.bottom));
    rect.setAttribute("width", (right - left) * (frame.right - frame.left));
    rect.setAttribute("height", (bottom - top) * (frame.bottom - frame.top));
  }

  /** Where the picture is on the stage, as shares of it: it keeps its proportions. */
  function shownFrame() {
    const image = byId("picture");
    const scale = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight) || 1;
    const width = (image.naturalWidth * scale) / image.clientWidth || 1;
    const height = (image.naturalHeight * scale) / image.clientHeight || 1;
    return { left: (1 - width) / 2, right: (1 + width) / 2, top: (1 - height) / 2, bottom: (1 + height) / 2 };
  }

  let corner = null;
  function pointed(event) {
    const stage = byId("overlay").getBoundingClientRect();
    const frame = shownFrame();
    const share = (at, low, high) => Math.min(1, Math.max(0, (at - low) / (high - low)));
    return [
      share((event.clientX - stage.left) / stage.width, frame.left, frame.right),
      share((event.clientY - stage.top) / stage.height, frame.top, frame.bottom),
    ];
  }
  const overlay = byId("overlay");
  overlay.addEventListener("pointerdown", (event) => {
    corner = pointed(event);
    overlay.setPointerCapture(event.pointerId);
    setBox(null);
  });
  overlay.addEventListener("pointermove", (event) => {
    if (!corner) return;
    const [x, y] = pointed(event);
    const [left, right] = [Math.min(corner[0], x), Math.max(corner[0], x)];
    const [top, bottom] = [Math.min(corner[1], y), Math.max(corner[1], y)];
    setBox(right - left > 0.005 && bottom - top > 0.005 ? [left, top, right, bottom] : null);
  });
  overlay.addEventListener("pointerup", () => { corner = null; });
  byId("picture").addEventListener("load", () => setBox(box));
  addEventListener("resize", () => setBox(box));

  const actions = {
    accept: () => { const likely = now?.likely?.[0]; if (likely) give(likely[0]); },
    name: () => byId("class-name").focus(),
    unsure: () => give("?"),
    skip,
    undo: () => take("/label/undo"),
    redo: () => take("/label/redo"),
    see: () => byId("see")?.click(),
    fit: () => ask("/label/fit", {}).then(look, (error) => say(error.message)),
  };
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => actions[button.dataset.do]());
  }
  byId("naming").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = byId("class-name");
    const name = field.value.trim();
    field.value = "";
    field.blur();
    if (name) give(sameClass(name, keys.map(([known]) => known)));
  });
  byId("class-name").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.target.value = ""; event.target.blur(); }
  });
  const byKey = { Enter: "accept", n: "name", "?": "unsure", s: "skip", u: "undo", r: "redo", f: "fit", l: "see" };
  document.addEventListener("keydown", (event) => {
    if (!isForPage(event) || (event.key === "Enter" && event.target.closest("button, a, summary"))) return;
    const chosen = onKey(event, keys);
    if (chosen !== undefined) {
      if (chosen !== null) give(chosen);
    } else if (byKey[event.key.length === 1 ? event.key.toLowerCase() : event.key]) {
      event.preventDefault();
      actions[byKey[event.key.length === 1 ? event.key.toLowerCase() : event.key]]();
    } else if (event.key === "Escape") setBox(null);
  });
  /** Begin with the label that a link of Review means, where it is still a doubtful one. */
  async function begin() {
    const meant = new URLSearchParams(location.search).get("picture");
    const { suspects } = meant ? await ask("/label/state").catch(() => ({ suspects: [] })) : { suspects: [] };
    const suspect = suspects.find((each) => each.picture === meant);
    await (suspect ? again(suspect) : next());
  }
  begin();
  look();
}
