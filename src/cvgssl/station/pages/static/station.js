// What the scripts of all pages use: texts, requests, notices. Loaded before them (defer keeps order).
"use strict";

const station = (() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  const csrf = document.querySelector("meta[name=csrf]").content;

  /** A text in the language of the page; {names} in it are replaced by `values`. */
  function t(text, values = {}) {
    return (words[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
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

  function percent(share, digits = 0) {
    return `${(100 * share).toFixed(digits)} %`;
  }

  return { t, ask, say, make, isForPage, percent };
})();

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelector("details.me[open]")?.removeAttribute("open");
});
