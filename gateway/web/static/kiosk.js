// The page: takes screens from the gateway, shows each, sends what a person does. It decides nothing.

import { el, icon } from "./dom.js";
import { Entry, listen } from "./entry.js";
import { LAYOUTS, button, refusal } from "./layouts.js";
import {
  LANGUAGES, currentLanguage, languageName, loadTexts, screenText, setLanguage, text, ui,
} from "./texts.js";
import { tone } from "./tones.js";
import { send, watch } from "./wire.js";

const SETTINGS = new URLSearchParams(location.search); // ?lang=de&theme=dark|light|contrast&sound=off
const ANSWER_MS = 3000; // a screen should have come by then: let people try again
const LOST_MS = 1200; // a shorter break of the line is nobody's business
const ACTIVE_MS = 10_000; // whoever types is still there: say so at most this often
const IDLE_MS = 60_000; // on the welcome page the language goes back to the first
const WARN_MS = 20_000; // a warning comes so long before the end
const TICK_MS = 200;
const STALE_MS = 3000;
const MORE_TIME = "stay";

const main = document.querySelector("#screen");
const bar = document.querySelector("#bar");
const ending = document.querySelector("#ending");
const status = document.querySelector("#say");
const toast = document.querySelector("#toast");
const lost = document.querySelector("#lost");

let table = {};
let screen = null;
let entry = null;
const memory = { typing: false, low: false };
let acted = false;
let ends = null; // { from, until }
let lastActive = -ACTIVE_MS;
let lastTouch = 0;
let answerTimer = 0;
let toastTimer = 0;
let lostTimer = 0;

// A screen may look different for one `why`: "deliver.open:parcel.too_small".
function spec() {
  const own = table[`${screen.name}:${screen.why}`];
  return own ? { ...own, own: true } : table[screen.name];
}

// --- what a person does ---------------------------------------------------------------------

async function act(path, body) {
  acted = true;
  entry?.setBusy(true);
  document.body.classList.add("waiting");
  clearTimeout(answerTimer);
  answerTimer = setTimeout(release, ANSWER_MS);
  if (!(await send(path, body))) {
    release();
    complain();
  }
}

function release() {
  clearTimeout(answerTimer);
  document.body.classList.remove("waiting");
  entry?.setBusy(false);
}

function press(name, argument = "") {
  if (!document.body.classList.contains("waiting")) {
    act("button", argument ? { button: name, argument } : { button: name });
  }
}

function submit(value) {
  const path = spec().send;
  if (path === "door") {
    press(spec().choice, value);
    return;
  }
  act(path, path === "parcel" ? { tracking: value } : { digits: value });
}

function moreTime() {
  lastActive = performance.now();
  send("button", { button: MORE_TIME });
}

// Typing keeps the screen: nobody should have to press "More time" while they type.
function typed() {
  if (ends && performance.now() - lastActive > ACTIVE_MS) {
    moreTime();
  }
}

function leave() {
  const home = [...(spec()?.bar ?? []), ...(spec()?.buttons ?? [])].find(
    (one) => one.split(":")[0] === "home",
  );
  if (home) {
    press("home");
  }
}

function complain() {
  toast.replaceChildren(icon("stop"), el("span", {}, ui("not_sent")));
  toast.hidden = false;
  tone("bad");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, 5000);
}

// --- showing ----------------------------------------------------------------------------------

const content = ({ ends_ms: _ends, warn: _warn, ...rest }) => JSON.stringify(rest);

function onScreen(next, first) {
  clearTimeout(lostTimer);
  if (!table[next.name]) {
    setTimeout(() => location.reload(), STALE_MS); // the gateway is newer than this page
    return;
  }
  lost.hidden = true;
  const unchanged = screen !== null && content(screen) === content(next);
  const same = unchanged && (!acted || next.warn);
  if (!(same && ends && (next.warn || first))) {
    // A warning repeats how long the screen stays in all: the end we know already holds.
    const stays = next.warn ? Math.min(next.ends_ms, WARN_MS) : next.ends_ms;
    ends = stays > 0 ? { until: performance.now() + stays, from: next.ends_ms } : null;
  }
  const before = screen;
  screen = next;
  if (!same) {
    if (next.name === "welcome" && before !== null && before.name !== "welcome") {
      setLanguage(SETTINGS.get("lang"));
    }
    memory.low &&= next.name === before?.name;
    memory.typing &&= next.name !== "welcome";
    acted = false;
    toast.hidden = true;
    entry = spec().send
      ? new Entry(spec().send, { onSubmit: submit, onTyped: typed, say })
      : null;
    release();
    draw();
    announce(before === null);
  }
  warn(next.warn);
}

// `again`: the same screen after a choice on it; the focus stays at the element named.
function draw(again = null) {
  const { layout, tone: mood } = spec();
  const refused = refusal(screen, spec()) !== "";
  document.body.className = `layout-${layout} tone-${mood}${refused ? " refused" : ""}`;
  document.body.dataset.screen = screen.name;
  document.body.classList.toggle("typing", layout === "scan" && memory.typing);
  const parts = LAYOUTS[layout](screen, spec(), { press, entry, memory, again: draw });
  const stage = el(again === null ? "div.stage.new" : "div.stage", {}, ...parts.filter(Boolean));
  stage.setAttribute("role", "group");
  stage.setAttribute("aria-labelledby", "title");
  main.replaceChildren(stage);
  entry?.draw();
  drawBar();
  tick();
  const target = (again && main.querySelector(again)) || entry?.field || main.querySelector("#title");
  target?.focus({ preventScroll: true });
}

function drawBar() {
  const left = spec().bar.map((one) => button(one, press, "quiet"));
  const languages = LANGUAGES.filter((name) => name !== currentLanguage()).map((name) => el(
    "button.act.quiet.language",
    {
      type: "button", lang: name, "data-language": name,
      onclick: () => {
        setLanguage(name);
        draw(entry ? ".field" : "#title");
      },
    },
    icon("globe"), el("span", {}, languageName(name)),
  ));
  const line = el("div.remaining", { "aria-hidden": "true" }, el("span"));
  bar.replaceChildren(line, el("div.left", {}, ...left), el("div.right", {}, ...languages));
}

function announce(quiet) {
  const why = refusal(screen, spec());
  say([
    screenText(screen, "title"), why || screenText(screen, "text"),
  ].join(". "));
  if (!quiet) {
    tone(why ? "bad" : spec().tone);
  }
}

function say(words) {
  status.textContent = words;
}

// --- the end of a screen -----------------------------------------------------------------------

function warn(near) {
  ending.hidden = !near;
  bar.inert = near; // it is covered
  if (near) {
    ending.replaceChildren(
      icon("clock"),
      el("div.words", { role: "alert" }, el("strong", {}, ui("still_there")), el("span.in")),
      el("button.act.first", { type: "button", "data-button": MORE_TIME, onclick: moreTime },
        el("span", {}, text("button", MORE_TIME))),
    );
    tone("care");
  }
  tick();
}

function tick() {
  const left = ends ? Math.max(0, ends.until - performance.now()) : 0;
  const line = bar.querySelector(".remaining");
  if (line) {
    line.hidden = !ends;
    line.firstChild.style.setProperty("--left", ends ? String(left / ends.from) : "0");
  }
  const words = ending.querySelector(".in");
  const said = ui("ends", { count: Math.ceil(left / 1000) });
  if (words && words.textContent !== said) {
    words.textContent = said;
    // A number that changes every second must not be read out every second.
    words.setAttribute("aria-hidden", "true");
  }
  const idle = performance.now() - lastTouch > IDLE_MS;
  const first = LANGUAGES.includes(SETTINGS.get("lang")) ? SETTINGS.get("lang") : LANGUAGES[0];
  if (screen?.name === "welcome" && idle && currentLanguage() !== first) {
    setLanguage(first);
    draw("#title");
  }
}

function onLost() {
  clearTimeout(lostTimer);
  lostTimer = setTimeout(() => {
    lost.replaceChildren(icon("busy"), el("h2", {}, ui("lost")), el("p", {}, ui("lost_text")));
    lost.hidden = false;
  }, LOST_MS);
}

async function start() {
  const theme = SETTINGS.get("theme");
  if (["light", "dark", "contrast"].includes(theme)) {
    document.documentElement.dataset.theme = theme;
  }
  [table] = await Promise.all([
    fetch("/static/screens.json").then((answer) => answer.json()), loadTexts(),
  ]);
  setLanguage(SETTINGS.get("lang"));
  listen({
    current: () => (lost.hidden ? entry : null), onEscape: () => screen && leave(),
    onShown: (text) => screen && lost.hidden && act("scan", { text }),
  });
  for (const kind of ["pointerdown", "keydown"]) {
    addEventListener(kind, () => { lastTouch = performance.now(); }, true);
  }
  addEventListener("contextmenu", (event) => event.preventDefault());
  setInterval(tick, TICK_MS);
  await watch(onScreen, onLost);
}

start().catch(() => setTimeout(() => location.reload(), STALE_MS));
