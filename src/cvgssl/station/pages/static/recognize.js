"use strict";
{
  const { t, ask, say, make, isForPage, percent, bring, showBrought } = station;
  const byId = (id) => document.getElementById(id);
  const filters = byId("filters");
  let rows = []; // answers that are listed
  let more = null;
  let chosen = null; // number of the one that is explained
  let asked = 0;
  let counted = 0; // when
  let timer;
  const narrow = matchMedia("(max-width: 1000px)"); // one below the other

  function query() {
    const values = new URLSearchParams();
    for (const [name, value] of new FormData(filters)) {
      if (value) values.set(name, ["since", "until"].includes(name) ? new Date(value).toISOString().slice(0, 19) : value);
    }
    return values;
  }

  async function list(before = null, counts = !before) {
    clearTimeout(timer);
    const mine = ++asked;
    const words = query();
    byId("csv").href = `/recognize/answers.csv?${words}`;
    if (before) words.set("before", before);
    if (counts) words.set("counted", "yes");
    try {
      const found = await ask(`/recognize/list?${words}`);
      if (mine !== asked) return; // another filter was chosen meanwhile
      rows = before ? [...rows, ...found.answers] : found.answers;
      more = found.more;
      if (counts) showCounts(found);
      showRows();
    } catch (error) { say(error.message); }
    if (!before) timer = setTimeout(refresh, 5000);
  }

  /** New answers come on top by themselves, unless older ones are being read. */
  function refresh() {
    if (document.hidden || rows.length > 50) timer = setTimeout(refresh, 5000);
    else list(null, Date.now() - counted > 60_000);
  }

  function showCounts(found) {
    counted = Date.now();
    const total = Object.values(found.counts).reduce((sum, count) => sum + count, 0);
    byId("counts").replaceChildren(make("b", {}, t("{n} answers", { n: total.toLocaleString() + (total === found.most ? "+" : "") })),
      ...Object.entries(found.counts).slice(0, 8).map(([answer, count]) => make("span", {}, answers.tag(answer), ` ${count.toLocaleString()}`)));
    const field = filters.elements.answer;
    const value = field.value;
    field.replaceChildren(make("option", { value: "" }, t("any")),
      ...[...new Set([...Object.keys(found.every), value])].filter(Boolean).map((answer) => make("option", { value: answer }, answers.named(answer))));
    field.value = value;
  }

  let drawn = "";
  function showRows() {
    const now = JSON.stringify(rows);
    if (now === drawn) return;
    drawn = now;
    const focused = document.activeElement?.closest("#rows tr")?.dataset.number;
    byId("rows").replaceChildren(...rows.map((each) => {
      const name = each.name || t("without a name");
      const open = make("button", { class: "open", type: "button", "aria-label": `${name}: ${answers.named(each.answer)}` },
        each.kept ? answers.picture(`/kept/160/${each.sha256}`) : make("span", { class: "thumb gone" }, "–"));
      const review = each.review && each.review.right !== null
        ? make("span", { class: each.review.right ? "good" : "bad" }, each.review.right ? " ✓" : " ✗") : "";
      const row = make("tr", { "data-number": each.number, "aria-current": each.number === chosen ? "true" : null },
        make("td", {}, open), make("td", {}, answers.tag(each.answer), likeliest(each), review), make("td", { class: "number" }, each.answer === "unknown" ? "–" : percent(each.probability)),
        make("td", { class: "name", title: name }, name), make("td", {}, String(each.version)), make("td", { class: "quiet" }, station.when(each.at, "second")));
      row.addEventListener("click", async () => { await choose(each.number); if (narrow.matches) byId("detail").scrollIntoView({ block: "start" }); });
      return row;
    }));
    byId("rows").querySelector(`[data-number="${focused}"] button`)?.focus();
    byId("empty").hidden = rows.length > 0;
    byId("more").hidden = !more;
  }

  /** Of an answer that names no class: the class that comes nearest. Of "unknown" its probability
   * says nothing, for it is shared among the classes that the version knows. */
  function likeliest({ answer, predicted_class: name }) {
    if (answer === name) return "";
    return make("span", { class: "quiet" }, ` ${answer === "unknown" ? t("most like {name}", { name }) : t("perhaps {name}", { name })}`);
  }

  async function choose(number) {
    chosen = number;
    for (const row of byId("rows").children) {
      if (Number(row.dataset.number) === number) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    try {
      const found = await ask(`/answers/${number}`);
      if (chosen === number) explain(found);
    } catch (error) { say(error.message); }
  }

  function explain(found) {
    const parts = [];
    const beside = [];
    if (found.kept) beside.push(make("img", { class: "large", src: `/kept/1280/${found.sha256}`, alt: t("the picture {name}", { name: found.name }) }));
    else beside.push(make("p", { class: "quiet" }, t("The picture is not kept any more.")));
    const share = make("p", { class: "quiet" }, found.answer === "unknown"
      ? t("It is unlike all labelled pictures; the classes below are the least unlike.")
      : t("probability {share}", { share: percent(found.probability, 1) }));
    beside.push(make("div", {}, make("p", { class: "big" }, answers.named(found.answer)), share, answers.bars(found.probabilities)));
    parts.push(make("div", { class: "look" }, ...beside));
    if (found.review) parts.push(make("p", {}, t("{who} reviewed it: {what}", { who: answers.who(found.review.who), what: found.review.label || (found.review.right ? t("right") : t("wrong")) })));
    parts.push(make("h2", {}, t("Most alike labelled pictures")),
      make("div", { class: "grid near" }, ...answers.nearest(found.nearest)));
    if (found.answer === "not sure") parts.push(make("p", { class: "quiet" }, whyNotSure(found)));
    if (found.decided) {
      const technical = found.decided.split("\n").map((line) => make("p", { class: "quiet" }, line));
      parts.push(make("h2", {}, t("What the answer relies on")));
      if (found.relies) parts.push(make("p", {}, reliesOn(found.relies)), make("details", {}, make("summary", {}, t("In terms of the method")), ...technical));
      else parts.push(...technical);
    }
    if (found.reason) parts.push(make("p", { class: "bad" }, found.reason));
    parts.push(make("p", {}, make("a", { class: "button plain", href: `/replay/${found.number}` }, t("Replay"))));
    byId("detail").replaceChildren(...parts);
  }

  function whyNotSure(found) {
    const { sure_from: from, probability } = found;
    if (from === null || probability >= from) return t("This version does not tell the likeliest class from the others surely enough.");
    return t("{p} is too little for this version: it names a class from {from} on, so that about one answer in 20 is wrong at most. Where it was made of few labels it asks for more; further labels lower that.",
      { p: percent(probability, 1), from: percent(from, 1) });
  }

  function reliesOn({ labels, unlabelled }) {
    if (labels > 0.995) return t("On the labels alone: the {n} pictures without labels would not have helped.", { n: unlabelled });
    return t("{a} on the labels alone, {b} also on which of the {n} pictures without labels are alike.", { a: percent(labels), b: percent(1 - labels), n: unlabelled });
  }

  function step(by) {
    const place = rows.findIndex((each) => each.number === chosen);
    const next = rows[Math.min(rows.length - 1, Math.max(0, place + by))];
    if (!next || next.number === chosen) return;
    choose(next.number);
    byId("rows").querySelector(`[data-number="${next.number}"]`)?.scrollIntoView({ block: "nearest" });
  }

  async function upload(files) {
    const place = byId("uploading");
    const tell = (done, total) => {
      place.textContent = t("{done} of {total}", { done, total });
      if (done) list();
    };
    const { kept, refused } = await bring([...files], `/recognize/ask?version=${byId("by").value}`, drop.dataset, tell);
    await list();
    showBrought(place, refused.length
      ? t("{n} pictures were recognized, {m} refused:", { n: kept, m: refused.length })
      : t("{n} pictures were recognized.", { n: kept }), refused);
    if (kept && rows.length) choose(rows[0].number);
  }

  const drop = byId("drop");
  if (drop) {
    byId("files").addEventListener("change", async (event) => { await upload(event.target.files); event.target.value = ""; });
    for (const kind of ["dragover", "dragleave", "drop"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", kind === "dragover");
        if (kind === "drop") upload(event.dataTransfer.files);
      });
    }
  }
  filters.addEventListener("input", () => list());
  filters.addEventListener("submit", (event) => event.preventDefault());
  byId("more").addEventListener("click", () => list(more));
  document.addEventListener("keydown", (event) => {
    if (!isForPage(event)) return;
    const key = event.key.toLowerCase();
    if (key === "j" || key === "k") step(key === "j" ? 1 : -1);
    else if (key === "a" && drop) byId("files").click();
    else return;
    event.preventDefault();
  });
  for (const option of document.querySelectorAll("option[data-name]")) {
    const { name, live } = option.dataset;
    option.textContent = `${option.value} – ${station.versionName(name)}${live ? ` (${live})` : ""}`;
  }
  const given = new URLSearchParams(location.search);
  // which answers there are is asked for below
  if (given.get("answer")) filters.elements.answer.add(new Option(answers.named(given.get("answer")), given.get("answer")));
  for (const [name, value] of given) if (filters.elements[name]) filters.elements[name].value = value;
  list();
}
