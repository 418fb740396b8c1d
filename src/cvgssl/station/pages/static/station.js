// What the scripts of all pages use: texts, requests, notices. Loaded before them (defer keeps order).
"use strict";

const station = (() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  const csrf = document.querySelector("meta[name=csrf]").content;

  const isEnglish = document.documentElement.lang === "en";

  /** A text in the language of the page; {names} in it are replaced by `values`. English has
   * another one where {n} is one. */
  function t(text, values = {}) {
    const found = isEnglish && String(values.n) !== "1" ? text : words[text] ?? text;
    return found.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  }

  /** JSON of `path`; POST where there is a body (an object, or FormData). Throws Error with its `status`. */
  async function ask(path, body) {
    const options = { headers: { Accept: "application/json" } };
    if (body !== undefined) {
      options.method = "POST";
      options.headers["X-CSRF-Token"] = csrf;
      if (body instanceof FormData) {
        options.body = body;
      } else {
        options.headers["Content-Type"] = "application/json";
        options.body = JSON.stringify(body);
      }
    }
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw Object.assign(new Error(t("The station does not answer; is it running?")), { status: 0 });
    }
    if (answer.status === 401) location.reload();
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      throw Object.assign(new Error(found.error ?? answer.statusText), { status: answer.status, found });
    }
    return found;
  }

  let hiding;
  /** Say something for a moment, for people who see and who hear. */
  function say(text) {
    const notice = document.getElementById("notice");
    notice.textContent = text;
    notice.hidden = false;
    clearTimeout(hiding);
    hiding = setTimeout(() => { notice.hidden = true; }, 6000);
  }

  /** An element: `make("p", { class: "quiet" }, "text", child)`. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  /** Whether a key is meant for the page, not for a field or a button of the browser. */
  function isForPage(event) {
    const field = event.target.closest("input, select, textarea, [contenteditable]");
    return !field && !event.ctrlKey && !event.metaKey && !event.altKey;
  }

  const two = (number) => String(number).padStart(2, "0");

  /** A time of the station (UTC) in this browser's zone, everywhere in one form: 2026-01-31 17:05. */
  function when(at, form = "minute") {
    const time = new Date(at);
    const hour = `${two(time.getHours())}:${two(time.getMinutes())}`;
    if (form === "hour") return hour;
    const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
    return `${day} ${hour}${form === "second" ? `:${two(time.getSeconds())}` : ""}`;
  }

  /** Write the times of a template so. */
  function localTimes(place) {
    for (const each of place.querySelectorAll("time[data-form]")) each.textContent = when(each.dateTime, each.dataset.form);
  }
  localTimes(document);

  /** What a version is called: a name that the station gave is translated. */
  function versionName(name) {
    const labels = /^(\d+) labels$/.exec(name);
    if (labels) return t("{n} labels", { n: labels[1] });
    const centred = /^version (\d+) re-centred$/.exec(name);
    return centred ? t("version {n} re-centred", { n: centred[1] }) : name;
  }

  function percent(share, digits = 0) {
    return `${(100 * share).toFixed(digits)} %`;
  }

  const AT_ONCE = 16; // pictures in a request
  const AROUND = 2000; // bytes of a form beside each file
  const TRIES = 5; // of a request that comes while the station is busy

  /** Send picture files to `path`, as many in a request as the station takes (limits: strings
   * bytes, files); a request that fails stops no others. tell(sent, total) is called before each. Gives {kept, refused: [{name, reason}]}. */
  async function bring(files, path, limits, tell) {
    const bytes = Number(limits.bytes);
    const most = Math.min(AT_ONCE, Number(limits.files));
    const brought = { kept: 0, refused: [] };
    const groups = [];
    let size = Infinity;
    for (const file of files) {
      if (file.size + 2 * AROUND > bytes) {
        brought.refused.push({ name: file.name, reason: t("over {n} MB, which a request may have (--max-megabytes)", { n: bytes / 1e6 }) });
        continue;
      }
      size += file.size + AROUND;
      if (size + AROUND > bytes || groups.at(-1).length === most) {
        groups.push([]);
        size = file.size + AROUND;
      }
      groups.at(-1).push(file);
    }
    let sent = 0;
    for (const group of groups) {
      tell(sent, files.length);
      try {
        const found = await sendGroup(group, path);
        brought.kept += found.kept;
        brought.refused.push(...found.refused);
      } catch (error) {
        brought.refused.push(...group.map((file) => ({ name: file.name, reason: error.message })));
      }
      sent += group.length;
    }
    return brought;
  }

  async function sendGroup(group, path) {
    for (let left = TRIES; ; left -= 1) {
      const form = new FormData();
      for (const file of group) form.append("picture", file, file.name);
      try {
        return await ask(path, form);
      } catch (error) {
        if (error.found?.refused) return { kept: 0, ...error.found };
        if (error.status !== 503 || left <= 1) throw error;
        await new Promise((done) => { setTimeout(done, 2000); });
      }
    }
  }

  /** Say what became of files, with a list of those that were refused, which stays. */
  function showBrought(place, text, refused) {
    const list = make("ul", { class: "refused" }, ...refused.map((each) => make("li", {}, make("b", {}, each.name), `: ${each.reason}`)));
    place.replaceChildren(make("p", {}, text), refused.length ? list : "");
  }

  const KEYS = 9;

  /** Buttons of classes. keys: pairs [name, place], the first nine on the keys 1 to 9, the same as
   * long as the station lives; likely: pairs [name, share], of which those without a key follow. */
  function classButtons(keys, likely, choose, disabled = false) {
    const shares = new Map(likely);
    const onKeys = keys.filter(([, place]) => place < KEYS);
    const others = [...new Set([...likely, ...keys].map(([name]) => name))];
    const without = others.filter((name) => !onKeys.some(([other]) => other === name)).slice(0, KEYS);
    return [...onKeys, ...without.map((name) => [name, null])].map(([name, place]) => {
      const share = shares.get(name);
      const bar = make("i", { "aria-hidden": "true" });
      bar.style.width = `${100 * (share ?? 0)}%`;
      const button = make("button", { type: "button", disabled, "aria-label": share === undefined ? name : `${name}, ${percent(share)}` },
        place === null ? "" : make("kbd", {}, String(place + 1)), make("span", {}, name), share === undefined ? "" : percent(share), bar);
      button.addEventListener("click", () => choose(name));
      return button;
    });
  }

  /** The class on the key of an event: its name, null where the key has none, undefined for other keys. */
  function onKey(event, keys) {
    const number = Number(event.key);
    if (!(number >= 1 && number <= KEYS)) return undefined;
    const found = keys.find(([, place]) => place === number - 1);
    if (!found) say(t("No class is on the key {n} yet; N names a new one.", { n: number }));
    return found ? found[0] : null;
  }

  /** A name that was typed; the class that there is where only case, spaces, - and _ differ. */
  function sameClass(typed, names) {
    const plain = (name) => name.normalize("NFKC").toLowerCase().replace(/[\s_-]+/g, " ").trim();
    if (names.includes(typed)) return typed;
    const found = names.find((name) => plain(name) === plain(typed));
    if (found !== undefined) say(t("“{typed}” was taken for the class “{known}”.", { typed, known: found }));
    return found ?? typed;
  }

  return { t, ask, say, make, isForPage, percent, when, localTimes, versionName, bring, showBrought, classButtons, onKey, sameClass };
})();

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelector("details.me[open]")?.removeAttribute("open");
});
