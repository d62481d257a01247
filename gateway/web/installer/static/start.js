// Before the work: begin, go on, or take over from somebody else.

import { el } from "./dom.js";
import { button, card, confirm } from "./parts.js";
import { say } from "./words.js";
import { papers } from "./sign.js";

const heading = (text) => el("h2", { tabindex: "-1", "data-key": text }, text);

export function start(app) {
  const { signed } = app.view;
  // Doors of the map in force: as this page was loaded, or as it has just been signed.
  const count = Number(document.body.dataset.doors) || (signed ? signed.passed + signed.failed : 0);
  const has = count > 0;
  const begin = (from) => () => app.act({ do: "begin", from });
  return [
    heading(say("start.title")),
    signed && papers(signed),
    el("p", { "data-key": "what" }, say("start.what")),
    card("begin",
      has && el("p", {}, say("start.map", { count })),
      has && button(say("start.from_map"), begin("map")),
      button(say(has ? "start.from_nothing" : "start.begin"), begin("empty"),
        { kind: has ? "quiet" : "" }),
      el("p.soft", {}, say("start.kiosk"))),
    el("ol.soft.plan", { "data-key": "plan" }, ["boards", "doors", "place", "proof", "sign"].map(
      (step) => el("li", {}, el("strong", {}, say(`step.${step}`)), `: ${say(`plan.${step}`)}`))),
  ].filter(Boolean);
}

// The boards were given back, the draft is kept.
export function closed(app) {
  return card("closed",
    el("p.lead", {}, say("closed.title")),
    el("p", {}, say("closed.text")),
    button(say("closed.go_on"), () => app.act({ do: "begin" })));
}

// Somebody else holds it.
export function taken(app) {
  const by = app.view.by.replace(/^\w+:/, "");
  const over = async () => {
    if (await confirm(say("taken.take"), say("taken.sure", { by }), say("taken.yes"))) {
      await app.act({ do: "take" });
    }
  };
  return [
    heading(say("taken.title", { by })),
    card("taken", el("p", {}, say("taken.text")), button(say("taken.take"), over)),
    el("ul.plain", { "data-key": "how-far" }, app.view.steps.map(({ step, done, have, of }) =>
      el("li", {}, `${say(`step.${step}`)}: `,
        done ? say("step.done") : say("of", { done: have, total: of })))),
  ];
}
