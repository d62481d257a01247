// Numbering boards, one at a time: connect the next one, prove it is alone, give it its number.

import { el } from "./dom.js";
import { field, fold, form, pick } from "./parts.js";
import { profiles, say } from "./words.js";

const RATES = [9600, 19200, 38400, 57600, 115200];

export function addressing(app) {
  const { view, ui } = app;
  const places = view.lines.filter(({ kind, framing }) => kind === "serial" || framing === "rtu")
    .map(({ name }) => [name, name]);
  const kinds = profiles().filter(({ settable }) => settable);
  if (!places.length || !kinds.length) return null;
  const line = ui.addressLine ?? places[0][0];
  const recent = view.boards.findLast?.(({ settable }) => settable)?.profile;
  const profile = ui.addressProfile ?? recent ?? kinds[0].profile;
  const unit = next(view, line);
  const send = async ({ unit: number, baud }) => app.act({
    do: "address", line, profile, unit: Number(number), ...(baud && { baud: Number(baud) }) });
  return fold("addressing", say("address"),
    el("ol", {}, ["address.1", "address.2", "address.3"].map((key) => el("li", {}, say(key)))),
    view.last?.job === "address" && !view.last.code
      && el("p.good", {}, say("address.done")),
    form(send,
      pick(say("address.line"), "address-line", places, line, (to) => app.set({ addressLine: to })),
      pick(say("address.profile"), "address-profile",
        kinds.map(({ profile: name, title }) => [name, title]), profile,
        (to) => app.set({ addressProfile: to })),
      // Another number to begin with, after each board.
      el("div", { "data-key": `number-${line}-${unit}` },
        field(say("address.unit"), "unit", { required: true, type: "number", min: 1, max: 255,
          value: unit, inputmode: "numeric" }, say("address.unit.hint"))),
      pick(say("address.rate"), "baud",
        [["", say("address.rate.keep")], ...RATES.map((rate) => [String(rate), `${rate} Bd`])], ""),
      el("button", {}, say("address.go", { unit }))));
}

// The first number that no board of this line has.
function next({ boards, found }, line) {
  const taken = new Set([...boards, ...found].filter((one) => one.line === line)
    .map(({ unit }) => unit));
  let unit = 1;
  while (taken.has(unit)) unit += 1;
  return unit;
}
