// One lock at a time: it is opened, a person says which door popped, closes it, and it is known.

import { SIZES, learned } from "./door.js";
import { el } from "./dom.js";
import { button, card, choice, findings } from "./parts.js";
import { say } from "./words.js";

const PAD = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "clear", "0", "back"];

const PARTS = { pulsing: waiting, watching: waiting, which, closing, done, failed, stopped };

// What is asked of a person now. A lesson that ended with a code has taught nothing; one that
// nobody looks at any more can only be begun again; the one before says nothing of a new pulse.
export function phaseOf({ lesson: now, job, locks }) {
  const running = job?.name === "try";
  if (!now || now.phase === "done") {
    return running ? "pulsing" : !now ? "" : now.code ? "failed" : "done";
  }
  if (running) return now.phase;
  return locks.some(({ lock, skipped }) => skipped && lock === now.lock) ? "" : "stopped";
}

// The card of the lesson; nothing where there is none.
export function lesson(app) {
  const phase = phaseOf(app.view);
  const now = app.view.lesson ?? { lock: "", findings: [] };
  if (!phase) return null;
  const part = PARTS[phase] ?? waiting;
  return el(`section.card.lesson.${phase}`,
    { "data-key": phase === "pulsing" ? phase : `lesson-${now.lock}-${phase}`, "aria-labelledby": "phase" },
    el("h3", { id: "phase", tabindex: "-1", "data-begin": "" },
      say(`phase.${phase}`, { door: now.number })),
    phase !== "pulsing" && now.attempts > 1 && el("p.soft", {}, say("lesson.attempt", { attempts: now.attempts })),
    phase !== "pulsing" && findings(now.findings),
    part(app, now));
}

function waiting() {
  return [el("p", {}, say("lesson.watch")), el("progress", { "aria-label": say("wait") })];
}

function which(app, now) {
  const size = app.ui.size ?? usual(app.view, now);
  const typed = app.ui.typed ?? "";
  const popped = async (number) => {
    if (await app.act({ do: "popped", number, size })) app.set({ typed: "" });
  };
  return [
    el("p.seen", {}, now.switch
      ? say("lesson.moved", { switch: now.switch, ms: now.open_ms }) : say("lesson.still")),
    choice(say("lesson.size"), "size", SIZES.map((one) => [one, one]), size,
      (chosen) => app.set({ size: chosen })),
    now.suggest > 0 && button(say("lesson.suggest", { door: now.suggest }),
      () => popped(now.suggest), { kind: "huge" }),
    el("div.pair", {},
      button(say("lesson.nothing"), () => app.act({ do: "nothing" }), { kind: "quiet" }),
      again(app, "quiet")),
    pad(app, typed, popped),
    skip(app, now),
  ];
}

// The size this lock's door had, or its neighbour has: banks come in runs of one size.
const usual = ({ doors }, { lock, suggest }) => (doors.find((door) => door.lock === lock)
  ?? doors.find(({ number }) => number === suggest - 1))?.size ?? "M";

// Keys for gloves; a keyboard may type into the field as well.
function pad(app, typed, popped) {
  const type = (key) => app.set({ typed: key === "clear" ? ""
    : key === "back" ? typed.slice(0, -1) : `${typed}${key}`.replace(/^0+/, "").slice(0, 4) });
  return el("form.pad", { onsubmit: (event) => {
    event.preventDefault();
    const number = Number(event.target.elements.number.value);
    if (number) popped(number);
  } },
    el("label", { for: "number" }, say("lesson.other")),
    // A key of its own for each text: what was typed by hand gives way to the pad.
    el("input", { id: "number", name: "number", "data-key": `typed-${typed}`, value: typed,
      inputmode: "numeric", pattern: "[1-9][0-9]{0,3}", maxlength: 4, autocomplete: "off" }),
    el("div.digits", {}, PAD.map((key) => el("button.quiet", { type: "button",
      onclick: () => type(key), "aria-label": key.length > 1 && say(`pad.${key}`) },
      { clear: "C", back: "⌫" }[key] ?? key))),
    el("button", {}, typed ? say("lesson.this", { door: typed }) : say("lesson.typed")));
}

function closing(app, now) {
  return [
    el("ol.todo", {},
      el("li", {}, say("lesson.put")),
      el("li", {}, say("lesson.close", { door: now.number }))),
    learned(now),
    el("progress", { "aria-label": say("wait") }),
    again(app, "quiet"),
    skip(app, now),
  ];
}

function done(_app, now) {
  return learned(now);
}

function failed(app, now) {
  return [
    now.findings.length === 0 && findings([{ code: now.code, about: now.lock, evidence: {} }]),
    again(app, "huge"),
    skip(app, now),
  ];
}

function stopped(app, now) {
  return [again(app, "huge"), skip(app, now)];
}

// The lesson that goes on has to end before its lock is opened again, or left out.
const again = (app, kind) =>
  button(say("lesson.again"), () => app.instead({ do: "again" }), { kind });

const skip = (app, { lock }) =>
  button(say("lesson.skip"), () => app.instead({ do: "skip", lock }), { kind: "quiet" });
