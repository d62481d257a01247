// What every step is made of: findings, buttons, fields, choices, questions.

import { $, el } from "./dom.js";
import { meaning, place, say } from "./words.js";

// How names are written: of boards, and of power rails.
export const NAME = "[a-z0-9][a-z0-9_\\-]{0,31}";

export const button = (text, onclick, more = {}) => {
  const { kind = "", ...attributes } = more;
  return el(`button${kind && `.${kind}`}`, { type: "button", onclick, ...attributes }, text);
};

// What is wrong or worth knowing: what, where, what to do; the evidence unfolds.
export function findings(list) {
  if (!list?.length) return null;
  return el("ul.findings", {}, list.map(({ code, about, evidence, remedy }) => {
    const { what, cure } = meaning(code, evidence, remedy);
    const rows = Object.entries(evidence ?? {});
    return el("li", {},
      el("p.what", {}, what, about && el("span.about", {}, ` (${place(about)})`)),
      cure && el("p.cure", {}, cure),
      rows.length > 0 && el("details", {},
        el("summary", {}, say("evidence")),
        el("dl", {}, rows.map(([key, value]) => [el("dt", {}, key), el("dd", {}, String(value))])),
        el("p.code", {}, code)),
    );
  }));
}

export function field(label, id, attributes = {}, hint = "") {
  return el("div.field", {},
    el("label", { for: id }, label),
    el("input", { id, name: id, autocomplete: "off", autocapitalize: "none", spellcheck: "false",
      "aria-describedby": hint ? `${id}-hint` : undefined, ...attributes }),
    hint && el("p.soft", { id: `${id}-hint` }, hint));
}

// One of several, as large keys. `options` are [value, text]; radios, so arrows and screen readers
// know what to do.
export function choice(legend, name, options, chosen, onchange) {
  return el("fieldset.choice", { "data-key": `choice-${name}` },
    el("legend", {}, legend),
    el("div.keys", {}, options.map(([value, text]) => el("label.key", {},
      el("input", { type: "radio", name, value, checked: String(value) === String(chosen),
        onchange: onchange && (() => onchange(value)) }),
      el("span", {}, text)))));
}

export function pick(label, id, options, chosen, onchange, name = id) {
  return el("div.field", {},
    el("label", { for: id }, label),
    el("select", { id, name, onchange: onchange && ((event) => onchange(event.target.value)) },
      options.map(([value, text]) => el("option", { value, selected: value === chosen }, text))));
}

export const tick = (label, name, checked, onchange) => el("label.key.tick", {},
  el("input", { type: "checkbox", name, checked, onchange }), el("span", {}, label));

export function fold(key, title, ...children) {
  return el("details.fold", { "data-key": `fold-${key}` },
    el("summary", {}, title), el("div.inside", {}, ...children));
}

export const card = (key, ...children) => el("section.card", { "data-key": `card-${key}` }, ...children);

// A job under way: how far, and the way out.
export function progress(app, job, words) {
  const known = job.total > 0;
  return card("job",
    el("p.lead", {}, words ?? say(`job.${job.name}`)),
    job.about && el("p.soft", {}, job.about),
    el("progress", { max: known ? job.total : 1, value: known ? job.done : undefined,
      "aria-label": say(`job.${job.name}`) }),
    known && el("p.count", {}, say("of", { done: job.done, total: job.total })),
    job.can_stop && button(say("stop"), () => app.act({ do: "stop" }), { kind: "quiet" }));
}

// Ask before something that cannot be taken back. Resolves to what was answered.
export function confirm(title, text, yes) {
  const box = $("#ask");
  return new Promise((done) => {
    box.replaceChildren(
      el("form", { method: "dialog" },
        el("h2", { id: "ask-title" }, title),
        el("p", { id: "ask-text" }, text),
        el("button", { value: "yes" }, yes),
        el("button.quiet", { value: "no", autofocus: true }, say("no"))));
    box.returnValue = "no";
    box.onclose = () => done(box.returnValue === "yes");
    box.showModal();
  });
}

// A form; `send` gets its fields by name, those that are ticked as "on".
export const form = (send, ...children) => el("form", {
  onsubmit: (event) => {
    event.preventDefault();
    send(Object.fromEntries(new FormData(event.target)));
  },
}, ...children);
