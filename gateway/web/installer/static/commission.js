// Commissioning on a phone. The gateway has all state: this page shows its view and sends acts, so
// a reload, a dead battery or another phone goes on where the work stands.

import { boards } from "./boards.js";
import { $, el, morph } from "./dom.js";
import { doors } from "./doors.js";
import { follow, post } from "./line.js";
import { button, confirm, findings } from "./parts.js";
import { place } from "./place.js";
import { proof } from "./proof.js";
import { sign } from "./sign.js";
import { closed, start, taken } from "./start.js";
import { spoken } from "./spoken.js";
import { loadWords, meaning, named, say } from "./words.js";

const STEPS = { boards, doors, place, proof, sign };

const app = {
  view: null,
  ui: {}, // what this phone alone knows: the door in hand, the chosen sizes
  step: "",
  refusal: null,
  busy: false,
  lost: false,

  // Change what only this phone knows, and show it.
  set(changes) {
    Object.assign(app.ui, changes);
    render();
  },

  // Send one act. True where it was done; a refusal is shown with its cure.
  async act(act) {
    if (app.busy) return false;
    app.busy = true;
    render();
    try {
      const { view, refusal } = await post(act);
      app.refusal = refusal ?? null;
      if (view) take(view);
      return !refusal;
    } catch {
      app.refusal = null;
      app.lost = true;
      return false;
    } finally {
      app.busy = false;
      render();
      if (app.refusal) $("#refusal")?.focus();
    }
  },

  // The same, once the job that goes on has been stopped.
  async instead(act) {
    if (app.view.job) {
      if (!await app.act({ do: "stop" })) return false;
      await idle();
    }
    return app.act(act);
  },

  tell(text) {
    const live = $("#live");
    if (text && live.textContent !== text) live.textContent = text;
  },

  go(step) {
    location.hash = step;
  },
};

let waiting = []; // for a job to end

const idle = () => new Promise((done) => {
  if (!app.view.job) done();
  else waiting.push(done);
});

function take(view) {
  const before = app.view;
  app.view = view;
  app.lost = false;
  if (!view.job) {
    for (const done of waiting) done();
    waiting = [];
  }
  app.tell(spoken(before, view));
}

// --- what is shown --------------------------------------------------------------------------------

function render() {
  const held = document.activeElement;
  const { view } = app;
  morph($("#top"), top());
  morph($("#page"), view ? body(view) : [el("p.lead", {}, say("loading"))]);
  document.body.classList.toggle("busy", app.busy);
  // What was pressed may be gone: go on at the heading of what came instead.
  if (held !== document.body && !document.contains(held) && !$("#ask").open) {
    ($("#page [data-begin]") ?? $("#page h2"))?.focus();
  }
}

function top() {
  return [
    app.lost && el("p.banner", { role: "alert", "data-key": "lost" }, say("lost")),
    app.refusal && refusal(app.refusal),
    working(app.view) && steps(app.view),
  ].filter(Boolean);
}

function refusal({ code, remedy, evidence }) {
  const { what, cure } = meaning(code, evidence, remedy);
  return el("div.bad", { id: "refusal", role: "alert", tabindex: "-1", "data-key": "refusal" },
    el("p", {}, what), cure && el("p", {}, cure), el("p.code", {}, code),
    button(say("understood"), () => { app.refusal = null; render(); }, { kind: "quiet" }));
}

// Whether there is a draft that this phone may work on.
const working = (view) => view && view.state !== "none" && view.mine;

// The five steps as links: back is the browser's own.
function steps(view) {
  return el("nav.steps-bar", { "aria-label": say("steps"), "data-key": "steps" },
    el("ol", {}, view.steps.map(({ step, done, have, of }) => el("li", {},
      el("a", { href: `#${step}`, "aria-current": step === app.step && "step",
        class: done && "done" },
        el("span.mark", { "aria-hidden": "true" }, done ? "✓" : of > 1 ? `${have}/${of}` : "·"),
        el("span.name", {}, say(`step.${step}`)),
        el("span.unseen", {}, done ? say("step.done") : of ? say("of", { done: have, total: of }) : "")),
    ))));
}

function body(view) {
  if (view.state === "none") return start(app);
  if (!working(view)) return taken(app);
  const made = STEPS[app.step](app);
  return [
    el("h2", { tabindex: "-1", "data-key": `title-${app.step}` }, say(`step.${app.step}.title`)),
    view.state === "closed" && closed(app),
    trouble(view),
    app.step !== "sign" && findings(view.findings),
    ...made,
    el("section.ways-out", { "data-key": "out" },
      view.state === "open" && button(say("pause"), pause, { kind: "quiet" }),
      button(say("cancel"), cancel, { kind: "quiet" })),
  ].filter(Boolean);
}

// How the last job ended, where it did not end well.
function trouble({ job, last, lesson }) {
  if (job || !last?.code || lesson?.findings.some(({ code }) => code === last.code)) return null;
  return findings([{ code: last.code, about: named("jobname", last.job), evidence: last.evidence,
    remedy: last.remedy }]);
}

const pause = () => app.act({ do: "close" });

async function cancel() {
  const { revision } = app.view;
  if (await confirm(say("cancel"), say("cancel.text"), say("cancel.yes"))) {
    await app.act({ do: "cancel", revision });
  }
}

// --- where we are ---------------------------------------------------------------------------------

function stepNow() {
  const wanted = location.hash.slice(1);
  return wanted in STEPS ? wanted : "";
}

function turn() {
  const step = stepNow() || (app.view?.next in STEPS ? app.view.next : "boards");
  if (step === app.step) return false;
  app.step = step;
  app.refusal = null;
  return true;
}

addEventListener("hashchange", () => {
  if (!turn()) return;
  render();
  scrollTo(0, 0);
  $("#page h2")?.focus({ preventScroll: true });
});

await loadWords();
render();
follow(
  () => app.view?.tick ?? null,
  (view) => {
    const lost = app.lost;
    app.lost = false;
    if (view) {
      take(view);
      if (!app.step) turn();
    }
    if (lost) app.tell(say("found_again"));
    render();
  },
  () => {
    app.lost = true;
    render();
  },
);
