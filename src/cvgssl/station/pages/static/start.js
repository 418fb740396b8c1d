"use strict";
{
  const { t, ask, say, make, bring, showBrought } = station;
  const byId = (id) => document.getElementById(id);
  const EXAMPLES = 6;
  const SEVERITIES = { spoils: ["bad", "spoils a result"], warning: ["doubt", "warning"], hint: ["quiet", "hint"] };
  let timer;
  let ready = false;
  let drawn = "";
  const may = byId("folders").dataset.may === "yes"; // choose, and cancel what was begun
  let begun = false; // here, so that whoever did wants to see it

  async function look() {
    clearTimeout(timer);
    let state;
    try {
      state = await ask("/start/state");
    } catch (error) {
      say(error.message);
      timer = setTimeout(look, 3000);
      return;
    }
    const { check, embed } = state.jobs;
    byId("looking").hidden = !check;
    byId("embedding").hidden = !embed;
    if (check) showCheck(check, state.findings);
    if (embed) byId("embed").replaceChildren(...jobLines(embed, t("The embeddings are there.")));
    if (begun && state.ready && !ready) byId("next").scrollIntoView({ block: "nearest" });
    ready = state.ready;
    byId("next").hidden = !ready;
    const over = (job) => !job || !["waiting", "running"].includes(job.state);
    const expected = begun && !check && !embed; // chosen here, and not yet among the jobs
    if (expected || !over(check) || !over(embed)) timer = setTimeout(look, 500);
  }

  function jobLines(job, done) {
    if (job.state === "done") return [make("p", { class: "good" }, done)];
    if (job.state === "failed") return [make("p", { class: "bad", role: "alert" }, job.message)];
    if (job.state === "cancelled") return [make("p", { class: "quiet" }, t("Cancelled."))];
    const p = job.progress;
    const bar = p ? make("progress", { max: p.total, value: p.done, "aria-label": t("progress") })
      : make("progress", { "aria-label": t("progress") });
    const line = p
      ? t("{done} of {total}, {rate} a second, {left} s left", { done: p.done, total: p.total, rate: p.rate, left: p.left })
      : job.state === "waiting" ? t("Waiting for the step before.") : t("The program is starting; on a busy machine that takes half a minute.");
    if (!may) return [bar, make("p", { class: "quiet" }, line)];
    const stop = make("button", { class: "plain", type: "button" }, t("Cancel"));
    stop.addEventListener("click", () => ask("/start/cancel", {}).then(look, (error) => say(error.message)));
    return [bar, make("p", { class: "quiet" }, line), stop];
  }

  function showCheck(job, findings) {
    const now = JSON.stringify([job, findings?.pictures]);
    if (now === drawn) return;
    drawn = now;
    if (job.state !== "done" || !findings) {
      byId("check").replaceChildren(...jobLines(job, ""));
      return;
    }
    const lines = [make("p", {}, t("{n} pictures were looked at.", { n: findings.pictures }))];
    if (!findings.findings.length) lines.push(make("p", { class: "good" }, t("Nothing was found.")));
    for (const finding of findings.findings) {
      const [kind, word] = SEVERITIES[finding.severity];
      const names = [...new Set(finding.items.flat().filter((name) => /\.\w{3,4}$/.test(name)))];
      const shown = names.slice(0, EXAMPLES).map((name) => make("figure", {}, example(name), make("figcaption", {}, name)));
      const [about, more] = aboutFinding(finding, names.length);
      lines.push(make("details", {},
        make("summary", {}, make("b", { class: kind }, t(word)), " ", about),
        ...(more ? [make("p", { class: "quiet", lang: "en" }, more)] : []),
        make("div", { class: "grid" }, ...shown)));
    }
    if (findings.spoiled) lines.push(make("p", { class: "bad" }, t("Mend these first where you can: accuracy measured on such pictures misleads.")));
    byId("check").replaceChildren(...lines);
  }

  /** A picture of the pool; one that cannot be read leaves a gray place. */
  function example(name) {
    const image = make("img", { class: "thumb", alt: "", loading: "lazy", src: `/pool/160/${name.split("/").map(encodeURIComponent).join("/")}` });
    image.addEventListener("error", () => image.replaceWith(make("span", { class: "thumb gone" }, "–")));
    return image;
  }

  /** The command's own sentence; or the page's, of how many pictures, and the other one for below. */
  function aboutFinding({ kind, message, items }, pictures) {
    const about = t(`finding ${kind}`);
    if (about === `finding ${kind}`) return [message, ""];
    return [pictures ? t("{about} ({n})", { about, n: items.length }) : about, message];
  }

  async function upload(files) {
    const place = byId("uploading");
    const tell = (done, total) => { place.textContent = t("{done} of {total}", { done, total }); };
    const { kept, refused } = await bring([...files], "/start/upload", drop.dataset, tell);
    showBrought(place, refused.length
      ? t("{n} pictures were kept, {m} refused:", { n: kept, m: refused.length })
      : t("{n} pictures were kept.", { n: kept }), refused);
    if (kept) await renew();
  }

  /** The folders as they are now; what else the page says stays. */
  async function renew() {
    const page = new DOMParser().parseFromString(await (await fetch("/start")).text(), "text/html");
    const chosen = document.querySelector("#choices input:checked")?.value;
    byId("choices").replaceWith(page.getElementById("choices"));
    const same = [...document.querySelectorAll("#choices input")].find((each) => each.value === chosen);
    if (same) same.checked = true;
    byId("begin").disabled = !may || !document.querySelector("#choices input");
  }

  byId("folders").addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = new FormData(event.target).get("folder");
    begun = true;
    ask("/start/choose", { folder: chosen }).then(look, (error) => say(error.message))
      .then(() => byId("looking").scrollIntoView({ block: "start" }));
  });
  byId("files").addEventListener("change", async (event) => { await upload(event.target.files); event.target.value = ""; });
  const drop = byId("drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") upload(event.dataTransfer.files);
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.closest("a, button, summary, [type=file]")) return;
    event.preventDefault();
    if (ready) location.href = "/label";
    else if (!byId("begin").disabled) byId("folders").requestSubmit();
  });
  document.querySelector("#choices input:checked")?.scrollIntoView({ block: "nearest" });
  look();
}
