// Step 4: every lock, sensor and line proved; what still stands open; what has to be cured.

import { el } from "./dom.js";
import { button, card, confirm, findings, progress } from "./parts.js";
import { meaning, say, took } from "./words.js";

export function proof(app) {
  const { view } = app;
  const failed = view.doors.filter(({ tested }) => tested && !tested.passed && tested.verdict !== "left");
  const run = async (doors) => {
    if (await confirm(say("prove"), say("prove.sure"), say("prove.yes"))) {
      await app.act({ do: "prove", ...(doors && { doors }) });
    }
  };
  return [
    view.job ? progress(app, view.job)
      : card("prove",
        el("p", {}, say("prove.about", { count: view.doors.length })),
        button(say(view.proof ? "prove.again" : "prove"), () => run(), { kind: "huge" }),
        failed.length > 0 && button(say("prove.failed", { count: failed.length }),
          () => run(failed.map(({ number }) => number)), { kind: "quiet" })),
    view.proof && result(app, view.proof, view.job),
    el("h3", { "data-key": "h-doors" }, say("proof.doors")),
    el("ul.rows.results", { "data-key": "results" },
      [...view.doors].sort((one, other) => rank(one) - rank(other)).map(row)),
  ].filter(Boolean);
}

function result(app, told, job) {
  const { passed, doors_passed: well, doors_failed: ill, open_doors: open } = told;
  return el(`section.card.${passed ? "well" : "ill"}`, { "data-key": "result" },
    el("h3", { tabindex: "-1" }, say(passed ? "proof.passed" : "proof.not_passed")),
    el("p", {}, say("proof.result", { passed: well, failed: ill })),
    open?.length > 0 && el("p.lead", {}, say("proof.close", { doors: open.join(", "),
      count: open.length })),
    findings(told.findings),
    !job && !open?.length && button(say("proof.go_on"), () => app.go("sign"),
      { kind: passed ? "" : "quiet" }));
}

// What failed comes first, then what is to be proved, then the rest by number.
const rank = ({ number, tested }) => number + (!tested ? 10_000 : tested.passed ? 20_000 : 0);

function row({ number, tested }) {
  const state = !tested ? "untested" : tested.verdict ?? (tested.passed ? "passed" : "failed");
  const told = tested?.code ? meaning(tested.code) : null;
  return el(`li.${state}`, { "data-key": `result-${number}` },
    el("span.plate", {}, String(number)),
    el("span", {},
      el("strong", {}, say(`tested.${state}`)),
      tested?.took_ms > 0 && ` · ${took(tested.took_ms)}`,
      tested?.attempts > 1 && ` · ${say("tested.attempts", { count: tested.attempts })}`,
      told && el("span.block", {}, told.what),
      told?.cure && el("span.block.soft", {}, told.cure)));
}
