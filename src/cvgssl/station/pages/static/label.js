"use strict";
if (document.getElementById("labelling")) {
  const { t, ask, say, make, isForPage, percent } = station;
  const byId = (id) => document.getElementById(id);
  const COLORS = ["#1f77b4", "#e8760a", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"];
  const KEYS = 9;
  const AHEAD = 3; // pictures that are fetched before they are asked for

  let queue = []; // what comes next, the picture that is shown at the head
  let classes = []; // names, in the order in which they were first used
  let state = null;
  let places = null; // of all pictures on the map
  let box = null;
  let sending = false;
  let asking = null;
  let timer;

  const src = (name) => `/pool/1280/${encodeURI(name).replaceAll("#", "%23").replaceAll("?", "%3F")}`;

  /** Fill the queue up; one request at a time. */
  function refill() {
    asking ??= ask(`/label/next?count=${AHEAD}`).then((answer) => {
      asking = null;
      const known = new Set(queue.map((each) => each.picture));
      const likely = new Map(answer.pictures.map((each) => [each.picture, each]));
      queue = queue.map((each) => (each.again ? each : likely.get(each.picture) ?? each));
      for (const each of answer.pictures) {
        if (known.has(each.picture)) continue;
        queue.push(each);
        new Image().src = src(each.picture);
      }
      show();
    }, (error) => { asking = null; say(error.message); setTimeout(refill, 3000); });
    return asking;
  }

  function show() {
    const now = queue[0];
    byId("name").textContent = now ? now.picture : t("All pictures have a label.");
    const image = byId("picture");
    image.hidden = !now;
    if (now && image.dataset.name !== now.picture) {
      image.dataset.name = now.picture;
      image.src = src(now.picture);
      image.alt = t("the picture {name}", { name: now.picture });
      setBox(now.box ?? null);
    }
    showKeys(now);
  }

  /** The classes on the keys: all of them, or the likeliest nine, always in the same order. */
  function onKeys(now) {
    const likely = new Map(now?.likely ?? []);
    const first = [...classes].sort((a, b) => (likely.get(b) ?? 0) - (likely.get(a) ?? 0)).slice(0, KEYS);
    return classes.filter((name) => first.includes(name)).map((name) => [name, likely.get(name)]);
  }

  function showKeys(now) {
    byId("keys").replaceChildren(...onKeys(now).map(([name, share], place) => {
      const bar = make("i", { "aria-hidden": "true" });
      bar.style.width = percent(share ?? 0);
      const said = share === undefined ? name : `${name}, ${percent(share)}`;
      const button = make("button", { type: "button", "aria-label": said, disabled: !now },
        make("kbd", {}, String(place + 1)), make("span", {}, name), share === undefined ? "" : percent(share), bar);
      button.addEventListener("click", () => give(name));
      return button;
    }));
    byId("class-names").replaceChildren(...classes.map((name) => make("option", { value: name })));
  }

  async function give(label) {
    const now = queue[0];
    if (!now || sending) return;
    sending = true;
    try {
      await ask("/label/give", { picture: now.picture, label, box, replaces: now.replaces });
      if (label !== "?" && !classes.includes(label)) classes.push(label);
      advance();
    } catch (error) {
      say(error.message);
      if (error.status === 409) advance(); // somebody else was there first
    } finally {
      sending = false;
    }
    look();
  }

  function advance() {
    queue.shift();
    show();
    if (queue.length < AHEAD) refill();
  }

  async function take(path) {
    try {
      const answer = await ask(path, {});
      if (!answer.picture) say(t("There is nothing to take back."));
      else if (path.endsWith("undo")) again(answer.picture);
      look();
    } catch (error) { say(error.message); }
  }

  /** Show a picture that was labelled before. */
  function again(picture) {
    queue = [{ ...picture, again: true }, ...queue.filter((each) => each.picture !== picture.picture)];
    show();
    scrollTo({ top: 0 });
  }

  async function skip() {
    const now = queue[0];
    if (!now) return;
    try {
      if (!now.again) await ask("/label/skip", { picture: now.picture });
      advance();
    } catch (error) { say(error.message); }
  }

  async function look() {
    clearTimeout(timer);
    let wait = 2000;
    try {
      state = await ask("/label/state");
      classes = [...new Set([...state.classes.map((each) => each.name), ...classes.filter((name) => state.busy)])];
      showState();
      if (state.busy) wait = 300;
      else if (drawn !== state.event) await drawMap();
      if (state.fit && !["done", "failed", "cancelled"].includes(state.fit.state)) wait = 500;
    } catch (error) { say(error.message); wait = 5000; }
    timer = setTimeout(look, wait);
  }

  function showState() {
    const { estimate, outlook } = state;
    const known = estimate && !estimate.too_few;
    byId("estimate").textContent = estimate && estimate.low !== null
      ? `${estimate.low.toFixed(0)}–${estimate.high.toFixed(0)} %` : "–";
    byId("estimate").classList.toggle("quiet", !known);
    const count = estimate?.held_out ?? 0;
    byId("estimate-note").textContent = !estimate || estimate.low === null
      ? t("Too few to tell: at least two classes need two labels each.")
      : (known ? "" : t("Too few to tell.") + " ")
        + t("95 % interval of the accuracy: {right} of {held_out} labels are named right when they are held out in turn. For pictures such as these, which were chosen because they teach most.", { right: estimate.right, held_out: count });
    byId("outlook").textContent = outlookText(outlook);
    byId("stop").hidden = !outlook?.enough;
    byId("stop").textContent = t("Stop here: further labels would hardly pay.");
    byId("unseen").textContent = outlook && outlook.unseen !== null
      ? (Math.round(outlook.unseen) ? t("About {n} more not seen yet.", { n: Math.round(outlook.unseen) }) : t("No sign of a class not seen yet."))
      : t("Too few labels to tell how many are not seen yet.");
    byId("classes").replaceChildren(...state.classes.flatMap((each, place) => {
      const dot = make("span", { class: "dot", "aria-hidden": "true" });
      dot.style.background = COLORS[place % COLORS.length];
      return [make("dt", {}, dot, each.name), make("dd", {}, t("{n} labels", { n: each.labels }))];
    }));
    byId("fit").disabled = state.classes.length < 2;
    showFit(state.fit);
    showSuspects(state.suspects);
    byId("head").textContent = t("Head: {head}; {n} labels in {seconds} s", { head: state.head, n: state.labels, seconds: state.seconds.toFixed(1) });
  }

  function outlookText(outlook) {
    if (!outlook || outlook.changed === null) return t("Too few labels to tell whether more would pay.");
    if (outlook.dominated) return t("Most labels are of one class, so little can be told of the others.");
    return t("The last third of the labels changed {share} of the answers.", { share: percent(outlook.changed, 1) });
  }

  function showFit(job) {
    const place = byId("fitting");
    if (!job) return place.replaceChildren();
    if (job.state === "failed") return place.replaceChildren(make("p", { class: "bad" }, job.said));
    if (job.state === "done") {
      const link = make("a", { class: "button", href: "/models" }, t("See it and make it live"));
      return place.replaceChildren(make("p", { class: "good" }, t("The recognizer is there.")), link);
    }
    if (!place.querySelector("progress")) {
      place.replaceChildren(make("progress", { "aria-label": t("progress") }), make("p", { class: "quiet" }, t("The recognizer is being made.")));
    }
  }

  function showSuspects(suspects) {
    byId("suspects-card").hidden = !suspects.length;
    byId("suspects").replaceChildren(...suspects.map((each) => {
      const button = make("button", { class: "plain", type: "button" }, t("Look"));
      button.addEventListener("click", () => again(each));
      const text = t("labelled {label}; by the other labels it is {instead} ({share})", { label: each.label, instead: each.instead, share: percent(each.probability) });
      return make("li", { class: "row" }, make("img", { class: "small", alt: "", src: src(each.picture).replace("1280", "160") }), make("span", { class: "grow" }, text), button);
    }));
  }

  let drawn = -1;
  async function drawMap() {
    places ??= await ask("/label/map");
    const answers = await ask("/label/answers");
    drawn = answers.event;
    const canvas = byId("map");
    const pen = canvas.getContext("2d");
    const size = canvas.width;
    pen.clearRect(0, 0, size, size);
    const at = (row) => [12 + places.x[row] * (size - 24), 12 + places.y[row] * (size - 24)];
    const color = (place) => (place < 0 ? "#9aa3ab" : COLORS[place % COLORS.length]);
    pen.globalAlpha = 0.45;
    answers.classes.forEach((place, row) => {
      const [x, y] = at(row);
      pen.fillStyle = color(place);
      pen.fillRect(x - 1.5, y - 1.5, 3, 3);
    });
    pen.globalAlpha = 1;
    pen.strokeStyle = getComputedStyle(document.body).color;
    for (const [row, place] of answers.labelled) {
      const [x, y] = at(row);
      pen.beginPath();
      pen.arc(x, y, 7, 0, 7);
      pen.fillStyle = color(place);
      pen.fill();
      pen.stroke();
    }
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
    accept: () => { const likely = queue[0]?.likely?.[0]; if (likely) give(likely[0]); },
    name: () => byId("class-name").focus(),
    unsure: () => give("?"),
    skip,
    undo: () => take("/label/undo"),
    redo: () => take("/label/redo"),
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
    if (name) give(name);
  });
  byId("class-name").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.target.value = ""; event.target.blur(); }
  });
  const byKey = { Enter: "accept", n: "name", "?": "unsure", s: "skip", u: "undo", r: "redo", f: "fit" };
  document.addEventListener("keydown", (event) => {
    if (!isForPage(event) || (event.key === "Enter" && event.target.closest("button, a, summary"))) return;
    const number = Number(event.key);
    if (number >= 1 && number <= KEYS) {
      const found = onKeys(queue[0])[number - 1];
      if (found) give(found[0]);
    } else if (byKey[event.key.length === 1 ? event.key.toLowerCase() : event.key]) {
      event.preventDefault();
      actions[byKey[event.key.length === 1 ? event.key.toLowerCase() : event.key]]();
    } else if (event.key === "Escape") setBox(null);
  });
  refill();
  look();
}
