// Step 5: one look at the whole, the sign-off, and the papers.

import { el } from "./dom.js";
import { button, card, confirm, findings } from "./parts.js";
import { say } from "./words.js";

export function sign(app) {
  const { view } = app;
  const open = view.steps.filter(({ step, done }) => !done && step !== "sign");
  const off = async () => {
    const { revision } = view;
    const text = say("sign.sure", { count: view.doors.length });
    if (await confirm(say("sign"), text, say("sign.yes"))) await app.act({ do: "sign", revision });
  };
  return [
    card("summary",
      el("dl.learned", {}, [
        ["boards", view.boards.length],
        ["doors", view.doors.length],
        ["passed", view.proof?.doors_passed ?? 0],
        ["failed", view.proof?.doors_failed ?? 0],
        ["skipped", view.locks.filter(({ skipped }) => skipped).length],
      ].map(([key, value]) => [el("dt", {}, say(`sum.${key}`)), el("dd", {}, String(value))]))),
    open.length > 0 && card("open",
      el("p.lead", {}, say("sign.open")),
      el("ul.plain", {}, open.map(({ step, have, of }) => el("li", {},
        el("a.link", { href: `#${step}` }, say(`step.${step}`)), " ",
        of ? say("of", { done: have, total: of }) : "")))),
    findings(view.findings),
    button(say("sign"), off, { kind: open.length ? "quiet" : "huge", "data-key": "sign" }),
    el("p.soft", { "data-key": "about" }, say("sign.about")),
    view.signed && papers(view.signed),
  ].filter(Boolean);
}

// What a signed commissioning leaves to take along.
export function papers({ at_ms: at, passed, failed, ref }) {
  const when = new Date(at).toLocaleString(document.documentElement.lang,
    { dateStyle: "medium", timeStyle: "short" });
  return card("papers",
    el("h3.signed", { tabindex: "-1", "data-begin": "" }, say("signed")),
    at > 0 && el("p", {}, say("signed.when", { when })),
    el("p", {}, say("proof.result", { passed, failed })),
    el("a.button", { href: "/report" }, say("report.look")),
    el("a.button.quiet", { href: "/report?download=1", download: true }, say("report.save")),
    el("a.button.quiet", { href: "/map.toml", download: true }, say("map.save")),
    el("a.link", { href: "/" }, say("home")),
    ref && el("p.code", {}, ref));
}
