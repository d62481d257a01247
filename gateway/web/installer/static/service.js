// Service later: a compartment out of service and back, what wears, and where to go for more.

import { $, el, morph } from "./dom.js";
import { ask, postTo } from "./line.js";
import { button, card, field, findings, fold, form } from "./parts.js";
import { loadWords, meaning, say, took } from "./words.js";

const LOOK_MS = 4000;
const TRENDS_EACH = 15; // looks

const now = { status: null, trends: null, refusal: null, lost: false };

async function act(door, enabled, reason) {
  try {
    const { refusal } = await postTo(`/api/doors/${door}/service`, { enabled, reason });
    now.refusal = refusal ?? null;
    if (!refusal) {
      $("#live").textContent = say(enabled ? "service.back.done" : "service.out.done", { door });
      await look();
    }
  } catch {
    now.lost = true;
  }
  render();
  if (now.refusal) $("#refusal")?.focus();
}

// --- what is shown --------------------------------------------------------------------------------

function render() {
  const held = document.activeElement;
  morph($("#top"), [
    now.lost && el("p.banner", { role: "alert", "data-key": "lost" }, say("lost")),
    now.refusal && refusal(now.refusal),
  ].filter(Boolean));
  morph($("#page"), now.status ? body() : [el("p.lead", {}, say("loading"))]);
  if (held !== document.body && !document.contains(held)) $("#page h2")?.focus();
}

function refusal({ code, remedy, evidence }) {
  const { what, cure } = meaning(code, evidence, remedy);
  return el("div.bad", { id: "refusal", role: "alert", tabindex: "-1", "data-key": "refusal" },
    el("p", {}, what), cure && el("p", {}, cure), el("p.code", {}, code));
}

function body() {
  const { status, trends } = now;
  const wear = new Map((trends?.doors ?? []).map((row) => [row.door, row]));
  return [
    el("h2", { tabindex: "-1", "data-key": "title" }, say("service.title")),
    el("p", { "data-key": "also" }, say("service.also"), " ",
      el("a.link", { href: "/commission" }, say("service.commission"))),
    findings(trends?.warnings),
    el("h3", { "data-key": "h-doors" }, say("service.doors")),
    el("ul.rows.taught", { "data-key": "doors" },
      (status.doors ?? []).map((row) => door(row, wear.get(row.door)))),
    trends?.lines?.length > 0 && lines(trends.lines),
  ].filter(Boolean);
}

function door(row, wear) {
  const number = row.door;
  const seen = row.open === null ? "unseen" : row.open ? "open" : "closed";
  return el("li", { "data-key": `door-${number}` }, card(`door-${number}`,
    el("div.row-head", {}, el("span.plate", {}, String(number)),
      el("span", {}, el("strong", {}, say("door", { door: number })), ` · ${row.size}`, el("br", {}),
        say(`seen.${seen}`), row.disabled
          ? el("span.out", {}, ` · ${say("service.out", { reason: row.disabled })}`) : "")),
    wear && numbers(wear),
    row.disabled
      ? button(say("service.back"), () => act(number, true, ""),
        { "aria-label": `${say("door", { door: number })}: ${say("service.back")}` })
      : fold(`out-${number}`, say("service.take_out"),
        form(({ reason }) => act(number, false, reason.trim()),
          field(say("service.reason"), `reason-${number}`,
            { name: "reason", required: true, maxlength: 80 }, say("service.reason.hint")),
          el("button.quiet", {}, say("service.take_out.do", { door: number }))))));
}

const numbers = ({ opened, retries, cycles, first, last, failed, trend }) => {
  const missed = Object.values(failed).reduce((sum, count) => sum + count, 0);
  return el("dl.learned", {}, [
    ["opened", String(opened)],
    ["missed", missed && String(missed)],
    ["retries", retries && String(retries)],
    ["cycles", String(cycles)],
    ["time", last && (first && trend === "rising"
      ? say("trend.from_to", { first: first.median_ms, last: last.median_ms })
      : took(last.median_ms))],
  ].filter(([, value]) => value).map(([key, value]) =>
    [el("dt", {}, say(`trend.${key}`)), el("dd", {}, value)]));
};

function lines(rows) {
  return card("lines", el("h3", {}, say("service.lines")),
    el("ul.plain", {}, rows.map(({ line, recent }) => el("li", { "data-key": line },
      el("p.name", {}, line),
      el("p.soft", {}, say("service.line", recent))))));
}

// --- looking --------------------------------------------------------------------------------------

async function look() {
  now.status = await (await ask("/api/status")).json();
}

// The log is read beside the gateway: seldom, and nothing is missing here without it.
async function trends() {
  const answer = await ask("/api/trends");
  if (answer.ok) now.trends = await answer.json();
}

await loadWords();
render();
for (let turn = 0; ; turn += 1) {
  if (!document.hidden) {
    try {
      await look();
      if (turn % TRENDS_EACH === 0) await trends();
      now.lost = false;
    } catch {
      now.lost = true;
    }
    render();
  }
  await new Promise((done) => { setTimeout(done, LOOK_MS); });
}
