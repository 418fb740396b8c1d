// How answers are shown, on several pages.
"use strict";

const answers = (() => {
  const { t, make, percent } = station;
  const VERDICTS = { unknown: "bad", "not sure": "doubt" };

  /** An answer as a word: verdicts are translated, classes are not. */
  function named(answer) {
    if (answer === "unknown") return t("unknown");
    return answer === "not sure" ? t("not sure") : answer;
  }

  /** Whoever it was; "local" is somebody who gave no name. */
  function who(name) {
    if (name === "program") return t("a program");
    if (name === "station") return t("the station");
    if (name === "command line") return t("the command line");
    const guest = /^guest (.+)$/.exec(name);
    if (guest) return t("guest {n}", { n: guest[1] });
    return name === "local" ? t("somebody") : name;
  }

  /** A picture without most of its folders; reviewed ones are called by a hash of 64 digits. */
  function shortName(name) {
    const parts = name.split("/");
    const last = parts.at(-1);
    return /^[0-9a-f]{64}$/.test(last) ? `${last.slice(0, 8)}…` : parts.slice(-2).join("/");
  }

  function tag(answer) {
    return make("span", { class: `tag ${VERDICTS[answer] ?? ""}` }, named(answer));
  }

  /** A picture of the station; one that it does not have (any more) leaves a gray place. */
  function picture(src, name = "") {
    const image = make("img", { class: "thumb", loading: "lazy", alt: name, src });
    image.addEventListener("error", () => image.replaceWith(make("span", { class: "thumb gone", title: t("not kept any more") }, "–")));
    return image;
  }

  /** Classes with bars as long as their probabilities; pairs [name, share]. */
  function bars(pairs) {
    return make("table", { class: "bars" }, make("tbody", {}, ...pairs.map(([name, share]) => {
      const bar = make("i", { "aria-hidden": "true" });
      bar.style.width = `${100 * share}%`;
      return make("tr", {}, make("th", { scope: "row" }, name, bar), make("td", { class: "number" }, percent(share, 1)));
    })));
  }

  /** The labelled pictures that are most alike. */
  function nearest(found) {
    if (!found.length) return [make("p", { class: "quiet" }, t("This version names no labelled pictures, or the picture is gone."))];
    return found.map((each) => {
      return make("figure", { title: each.name }, picture(each.src, each.name), make("figcaption", {}, make("b", {}, each.label), ` ${t("similarity {n}", { n: each.similarity.toFixed(2) })}`));
    });
  }

  return { named, who, shortName, tag, picture, bars, nearest };
})();
