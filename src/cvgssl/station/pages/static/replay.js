"use strict";
{
  const { t, ask, make, percent, versionName } = station;
  const byId = (id) => document.getElementById(id);

  function line(good, text) {
    return make("p", { class: good ? "good" : "bad" }, `${good ? "✓" : "✗"} ${text}`);
  }

  function show(found) {
    const { again } = found;
    const lines = [];
    if (again) {
      lines.push(make("p", { class: "big" }, answers.named(again.answer)));
      lines.push(line(again.same, again.same
        ? t("The same class and the same probabilities; they differ by {most} at most.", { most: again.difference.toExponential(1) })
        : t("Not the same: class {label}, probabilities differ by {most}.", { label: again.class, most: again.difference.toPrecision(2) })));
      lines.push(line(again.same_answer, again.same_answer ? t("The same answer.") : t("Another answer than then.")));
      byId("probabilities").hidden = false;
      byId("rows").replaceChildren(...again.rows.map(([name, then, now]) => make("tr", {}, make("th", { scope: "row" }, name),
        make("td", { class: "number" }, then === null ? "–" : percent(then, 3)), make("td", { class: "number" }, percent(now, 3)))));
    } else {
      lines.push(make("p", { class: "bad" }, t("It cannot be computed again: {reason}", { reason: found.reason })));
    }
    lines.push(line(found.whole, found.whole ? t("The files of version {n} are those that were added.", { n: found.version }) : t("The files of version {n} have been changed.", { n: found.version })));
    lines.push(make("p", { class: "quiet hash" }, `${versionName(found.name)} · SHA-256 ${found.sha256}`));
    byId("again").replaceChildren(...lines);
    if (!found.labels.length) {
      byId("labels").replaceChildren(make("p", { class: "quiet" }, t("This version names no labels.")));
      return;
    }
    const counts = make("dl", { class: "facts" }, ...Object.entries(found.counts).flatMap(([name, count]) => [make("dt", {}, name), make("dd", {}, t("{n} labels", { n: count }))]));
    const list = make("details", {}, make("summary", {}, t("All {n} labels", { n: found.labelled })),
      make("div", { class: "wide" }, make("table", {}, make("tbody", {}, ...found.labels.map(([name, label]) => make("tr", {}, make("td", {}, label), make("td", { class: "name" }, answers.shortName(name))))))));
    byId("labels").replaceChildren(counts, list);
  }

  ask(`/replay/${byId("replay").dataset.number}/again`).then(show, (error) => byId("again").replaceChildren(make("p", { class: "bad" }, error.message)));
}
