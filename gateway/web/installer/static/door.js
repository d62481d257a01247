// What a person sets of a door, or of many at once.

import { el } from "./dom.js";
import { NAME, button, card, choice, confirm, field, form, tick } from "./parts.js";
import { named, say, took } from "./words.js";

export const SIZES = ["S", "M", "L", "XL"];
const REACHES = ["low", "middle", "high"];
const sizes = (more = []) => [...more, ...SIZES.map((size) => [size, size])];
const reaches = (more = []) => [...more, ...REACHES.map((one) => [one, say(`reach.${one}`)])];

export function editDoor(app, door) {
  const { number } = door;
  const save = async (fields) => {
    const to = Number(fields.to);
    const done = await app.act({
      do: "door", number, size: fields.size, reach: fields.reach, rail: fields.rail.trim(),
      heated: "heated" in fields, cooled: "cooled" in fields, pulse_ms: Number(fields.pulse_ms),
      ...(to !== number && { to }),
    });
    if (done) app.set({ door: 0 });
  };
  const forget = async () => {
    const sure = say("forget.text", { door: number });
    if (await confirm(say("forget", { door: number }), sure, say("forget.yes"))) {
      await app.act({ do: "forget", number });
    }
  };
  return el("div.edit", { "data-key": `edit-${number}` },
    learned(door),
    form(save,
      choice(say("size"), "size", sizes(), door.size),
      choice(say("reach"), "reach", reaches(), door.reach),
      el("div.keys", {}, tick(say("heated"), "heated", door.heated),
        tick(say("cooled"), "cooled", door.cooled)),
      field(say("rail"), `rail-${number}`, { name: "rail", value: door.rail, pattern: NAME, required: true },
        say("rail.hint")),
      field(say("pulse"), `pulse-${number}`, { name: "pulse_ms", type: "number", min: 10, max: 1000,
        value: door.pulse_ms, inputmode: "numeric" }),
      field(say("renumber"), `renumber-${number}`, { name: "to", type: "number", min: 1, max: 9999,
        value: number, inputmode: "numeric", required: true }),
      el("button", {}, say("save"))),
    button(say("teach_again"), () => app.act({ do: "try", lock: door.lock }), { kind: "quiet" }),
    button(say("forget", { door: number }), forget, { kind: "quiet" }));
}

// What the walk found out about a door, or a lesson about a lock.
export function learned(one) {
  const rows = [
    ["lock", one.lock],
    ["switch", one.switch && `${one.switch}, ${named("open_when", one.open_when)}`],
    ["open_ms", one.open_ms && took(one.open_ms)],
    ["bounce_ms", one.bounce_ms && took(one.bounce_ms)],
    ["occupancy", one.occupancy && (one.occupied_below
      ? say("occupied_below", { sensor: one.occupancy, mm: one.occupied_below / 1000 })
      : `${one.occupancy}, ${named("occupied_when", one.occupied_when)}`)],
  ].filter(([, value]) => value);
  return el("dl.learned", {}, rows.map(([key, value]) =>
    [el("dt", {}, say(`learned.${key}`)), el("dd", {}, value)]));
}

export function editMany(app, numbers) {
  const keep = ["", say("keep")];
  const yes = [keep, ["yes", say("yes")], ["no", say("not")]];
  const save = async ({ size, reach, rail, heated, cooled }) => {
    const done = await app.act({
      do: "doors", numbers,
      ...(size && { size }), ...(reach && { reach }), ...(rail.trim() && { rail: rail.trim() }),
      ...(heated && { heated: heated === "yes" }), ...(cooled && { cooled: cooled === "yes" }),
    });
    if (done) app.set({ many: null });
  };
  return card("edit-many",
    el("h4", {}, say("many.title", { count: numbers.length })),
    form(save,
      choice(say("size"), "size", sizes([keep]), ""),
      choice(say("reach"), "reach", reaches([keep]), ""),
      choice(say("heated"), "heated", yes, ""),
      choice(say("cooled"), "cooled", yes, ""),
      field(say("rail"), "rail-many", { name: "rail", pattern: NAME }, say("rail.many")),
      el("button", {}, say("many.save", { count: numbers.length }))));
}
