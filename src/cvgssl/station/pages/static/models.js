"use strict";
{
  const { t, ask, say, make, when, versionName } = station;
  const byId = (id) => document.getElementById(id);
  const two = Boolean(byId("models").dataset.two);
  const comparing = byId("comparing");
  let state = null;
  let drawn = "";
  let timer;
  let loading = 0; // version that is on its way to be live
  let compared = null; // the pair that is shown
  const open = new Set(); // versions whose facts are unfolded

  const isOver = (job) => !job || !["waiting", "running"].includes(job.state);
  const range = ([low, high]) => `${low.toFixed(0)}–${high.toFixed(0)} %`;

  async function look() {
    clearTimeout(timer);
    let wait = 3000;
    try {
      state = await ask("/models/state");
      const now = JSON.stringify(state);
      if (now !== drawn) show();
      drawn = now;
      if (!isOver(state.fit) || state.versions.some((each) => !isOver(each.export))) wait = 700;
    } catch (error) { say(error.message); }
    timer = setTimeout(look, wait);
  }

  function show() {
    byId("none").hidden = state.versions.length > 0;
    byId("models").hidden = !state.versions.length;
    byId("versions").replaceChildren(...state.versions.map(card));
    byId("fitting").replaceChildren(...(isOver(state.fit) ? [] : [progress(state.fit), t("The recognizer is being made.")]));
    if (state.fit?.state === "failed") byId("fitting").replaceChildren(make("span", { class: "bad" }, state.fit.message));
    byId("history").replaceChildren(...state.history.map((each) => make("li", {}, make("b", {}, t("version {n}", { n: each.version })), ` ${answers.who(each.who)} `, make("span", { class: "quiet" }, when(each.at)))));
    showProposals();
    choices();
  }

  function progress(job) {
    const now = job.progress;
    return now ? make("progress", { max: now.total, value: now.done, "aria-label": t("progress") }) : make("progress", { "aria-label": t("progress") });
  }

  function card(each) {
    const live = each.number === state.live;
    const head = make("div", { class: "row between" },
      make("h2", {}, t("Version {n}", { n: each.number }), " ", make("span", { class: "quiet" }, versionName(each.name)), live ? make("span", { class: "tag good" }, t("live")) : ""),
      make("span", { class: "quiet" }, when(each.at)));
    if (each.problem) return make("section", { class: "card", "data-version": each.number }, head, make("p", { class: "bad" }, t("Its files are damaged; put a copy of them back.")));
    const classes = Object.entries(each.classes);
    const shown = classes.slice(0, 24).map(([name, count]) => make("span", { class: "tag" }, name, count ? ` ${count}` : ""));
    if (classes.length > 24) shown.push(make("span", { class: "quiet" }, t("and {n} more", { n: classes.length - 24 })));
    const figures = each.figures
      ? make("p", {}, make("span", { class: "big" }, `${each.figures.macro_recall.toFixed(1)} %`), " ", t("macro-recall on {n} test pictures, 95 % interval {range}", { n: each.figures.pictures, range: range(each.figures.macro_recall_interval) }))
      : make("p", { class: "quiet" }, t("No labelled test pictures: Review tells how often its answers are right."));
    const made = each.labels
      ? t("{n} labels and {m} pictures without; {head} on {encoder}", { n: each.labels, m: each.unlabelled, head: each.head, encoder: each.encoder || t("an exported encoder") })
      : each.encoder;
    return make("section", { class: `card version${live ? " live" : ""}`, "data-version": each.number },
      head, figures, make("p", { class: "row tags" }, ...shown), make("p", { class: "quiet" }, made), lacking(each), buttons(each, live), isLoading(each), exported(each), facts(each));
  }

  /** Classes of the live version that another one would call by others' names. */
  function lacking(each) {
    const live = state.versions.find((one) => one.number === state.live);
    if (!live || each === live) return "";
    const names = Object.keys(live.classes).filter((name) => !(name in each.classes));
    if (!names.length) return "";
    return make("p", { class: "bad lacking" }, t("Does not know: {classes}", { classes: names.join(", ") }));
  }

  function buttons(each, live) {
    const row = make("p", { class: "row" });
    if (!live) {
      const newest = each.number === Math.max(...state.versions.map((one) => one.number));
      const key = newest ? [" ", make("kbd", {}, "L")] : [];
      const go = make("button", { type: "button", id: newest ? "go-live" : null, disabled: !state.may || loading > 0 }, two ? t("Propose it") : (state.live && each.number < state.live ? t("Go back to it") : t("Make it live")), ...key);
      go.addEventListener("click", () => loadedWhile(each.number, () => change("/models/live", { version: each.number }, (found) => say(found.proposed ? t("A second person has to approve it.") : t("Version {n} answers from now on.", { n: each.number })))));
      if (state.live) {
        const compare = make("button", { class: "plain", type: "button" }, t("What would change?"));
        compare.addEventListener("click", () => begin(state.live, each.number));
        row.append(...(lacking(each) ? [compare, go] : [go, compare])); // first to look, then to go
      } else row.append(go);
    }
    if (each.report) row.append(make("a", { class: "button plain", href: `/models/${each.number}/report`, target: "_blank" }, t("Report")));
    if (each.file) row.append(make("a", { class: "button plain", href: `/models/${each.number}/export`, download: true }, t("Download ONNX")));
    else if (each.kind !== "export" && isOver(each.export)) {
      const go = make("button", { class: "plain", type: "button", disabled: !state.may }, t("Export as ONNX"));
      go.addEventListener("click", () => change("/models/export", { version: each.number }, () => {}));
      row.append(go);
    }
    return row;
  }

  /** A version is loaded before it answers, which takes up to half a minute: the page says so. */
  async function loadedWhile(number, work) {
    loading = number;
    show();
    try { await work(); } finally { loading = 0; show(); }
  }

  function isLoading(each) {
    if (each.number !== loading) return "";
    return make("p", { class: "row", role: "status" }, make("progress", { "aria-label": t("progress") }), make("span", {}, t("Version {n} is being loaded; until then answers come as before.", { n: each.number })));
  }

  function exported(each) {
    const job = each.export;
    if (!job) return "";
    if (!isOver(job)) return make("p", { class: "row" }, progress(job), t("The file is being made and checked."));
    if (job.state === "failed") return make("p", { class: "bad" }, job.message);
    if (job.state !== "done") return "";
    return make("details", {}, make("summary", {}, t("The file answers as this version: its proof")), make("pre", {}, job.proof));
  }

  function facts(each) {
    const place = make("div");
    const fold = make("details", { open: open.has(each.number) }, make("summary", {}, t("Labels, options and hashes")), place);
    const fill = async () => {
      if (place.childElementCount) return;
      try {
        const found = await ask(`/models/${each.number}`);
        place.replaceChildren(
          ...found.decided.split("\n").filter(Boolean).map((line) => make("p", {}, line)),
          make("pre", {}, found.options || t("No options are known.")),
          make("dl", { class: "hashes" }, make("dt", {}, t("version")), make("dd", {}, found.sha256),
            ...Object.entries(found.hashes).flatMap(([name, value]) => [value].flat().filter(Boolean).flatMap((hash) => [make("dt", {}, name), make("dd", {}, hash)]))),
          make("div", { class: "wide" }, make("table", {}, make("tbody", {}, ...found.labels.slice(0, 500).map(([name, label]) => make("tr", {}, make("td", {}, label), make("td", { class: "name" }, answers.shortName(name))))))),
        );
      } catch (error) { say(error.message); }
    };
    fold.addEventListener("toggle", () => { if (fold.open) { open.add(each.number); fill(); } else open.delete(each.number); });
    if (fold.open) fill();
    return fold;
  }

  function showProposals() {
    byId("proposals").hidden = !state.proposals.length;
    byId("proposal-list").replaceChildren(...state.proposals.map((each) => {
      const row = make("li", { class: "row" }, make("span", { class: "grow" }, t("{who} proposes version {n} in place of version {m}", { who: answers.who(each.who), n: each.version, m: each.replaces }), lacking(state.versions.find((one) => one.number === each.version))));
      const compare = make("button", { class: "plain", type: "button" }, t("What would change?"));
      compare.addEventListener("click", () => begin(each.replaces, each.version));
      if (each.replaces) row.append(compare);
      const decide = (text, approve, plain) => {
        const button = make("button", { type: "button", class: plain, disabled: !state.may || loading > 0 || (approve && each.own) }, text);
        button.addEventListener("click", () => loadedWhile(approve ? each.version : 0, () => change("/models/decide", { proposal: each.number, approve }, () => {})));
        row.append(button);
      };
      decide(t("Approve"), true, "");
      decide(each.own ? t("Withdraw") : t("Decline"), false, "plain");
      return row;
    }));
  }

  async function change(path, body, then) {
    try { then(await ask(path, body)); } catch (error) { say(error.message); }
    await look();
  }

  const given = new URLSearchParams(location.search); // versions that a link means
  function choices() {
    for (const [name, first] of [["before", state.live], ["after", state.versions.find((each) => each.number !== state.live)?.number]]) {
      const field = comparing.elements[name];
      const meant = state.versions.find((each) => String(each.number) === given.get(name))?.number;
      const value = field.value || String(meant ?? first ?? "");
      field.replaceChildren(...state.versions.map((each) => make("option", { value: each.number }, `${each.number} – ${versionName(each.name)}`)));
      field.value = value;
    }
    comparing.querySelector("button").disabled = state.versions.length < 2;
  }

  async function begin(before, after) {
    comparing.elements.before.value = before;
    comparing.elements.after.value = after;
    try {
      await ask("/models/compare", { before, after });
      compared = [before, after];
      byId("comparing").scrollIntoView({ block: "nearest" });
      follow();
    } catch (error) { say(error.message); }
  }

  async function follow() {
    const pair = compared;
    try {
      const found = await ask(`/models/comparison?before=${pair[0]}&after=${pair[1]}`);
      if (pair !== compared) return;
      showComparison(found);
      if (!isOver(found.job)) setTimeout(follow, 700);
    } catch (error) { say(error.message); }
  }

  function showComparison({ job, result }) {
    const place = byId("comparison");
    byId("changes-card").hidden = !result?.changed;
    if (!result) {
      if (isOver(job)) place.replaceChildren(make("p", { class: "bad" }, job?.message || t("There is no comparison.")));
      else place.replaceChildren(progress(job), make("p", { class: "quiet" }, t("Pictures are being recognized by version {n}.", { n: compared[1] })));
      return;
    }
    const [before, after] = compared;
    const lines = [make("p", {}, make("span", { class: "big" }, `${result.agreement.toFixed(1)} %`), " ",
      result.of_kept ? t("of the newest {n} pictures keep their answer", { n: result.pictures }) : t("of {n} pictures of the pool have the same answer", { n: result.pictures }))];
    if (result.moves.length) {
      lines.push(make("div", { class: "wide" }, make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, t("version {n}", { n: before })), make("th", {}, t("version {n}", { n: after })), make("th", { class: "number" }, t("pictures")))),
        make("tbody", {}, ...result.moves.slice(0, 12).map(([from, to, count]) => make("tr", {}, make("td", {}, answers.named(from)), make("td", {}, answers.named(to)), make("td", { class: "number" }, String(count))))))));
    }
    lines.push(...judged(result, before, after));
    place.replaceChildren(...lines);
    byId("changes-title").textContent = t("{n} answers would change", { n: result.changed });
    byId("changes").replaceChildren(...result.changes.map((each) => make("figure", {}, answers.picture(each.src, each.name),
      make("figcaption", {}, answers.named(each.before), " → ", make("b", {}, answers.named(each.after)), each.truth ? make("span", { class: each.truth === each.after ? "good" : "bad" }, ` ${t("is {label}", { label: each.truth })}`) : "",
      each.learned ? make("span", { class: "tag", title: t("One of the versions learned its label, so it does not show how good the version is.") }, t("learned")) : ""))));
  }

  function judged({ paired, learned }, before, after) {
    const left = learned ? make("p", { class: "quiet" }, t("{n} reviewed pictures are left out: a version has learned them.", { n: learned })) : "";
    if (!paired) return [make("p", { class: "quiet" }, t("Too few reviewed pictures to tell which is right more often.")), left];
    const clear = paired.low > 0 || paired.high < 0;
    const points = (value) => `${value > 0 ? "+" : ""}${value.toFixed(1)}`.replace("-", "−");
    return [
      make("p", {}, t("Of {n} reviewed pictures version {b} alone is right on {x}, version {a} alone on {y}.", { n: paired.pictures, a: before, b: after, x: paired.only_after, y: paired.only_before })),
      make("p", { class: clear ? (paired.low > 0 ? "good" : "bad") : "doubt" }, `${t("Difference {d} points, 95 % interval {low} to {high}, p = {p}.", { d: points(paired.difference), low: points(paired.low), high: points(paired.high), p: paired.p_value.toPrecision(2) })} ${clear ? "" : t("Too few to tell.")}`),
      left,
    ];
  }

  comparing.addEventListener("submit", (event) => {
    event.preventDefault();
    begin(Number(comparing.elements.before.value), Number(comparing.elements.after.value));
  });
  document.addEventListener("keydown", (event) => {
    if (station.isForPage(event) && event.key.toLowerCase() === "l") byId("go-live")?.click();
  });
  look();
}
