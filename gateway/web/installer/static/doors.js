// Step 2: the walk from lock to lock, and what is known of each door.

import { editDoor, editMany } from "./door.js";
import { el } from "./dom.js";
import { lesson, phaseOf } from "./lesson.js";
import { button, card, fold, progress } from "./parts.js";
import { say } from "./words.js";

export function doors(app) {
  const { view } = app;
  const teaching = !["", "done"].includes(phaseOf(view));
  const left = view.locks.filter(({ door, skipped }) => !door && !skipped);
  const other = view.job && !["try", "open"].includes(view.job.name);
  return [
    other && progress(app, view.job),
    lesson(app),
    !teaching && !other && next(app, left),
    !teaching && !left.length && view.doors.length > 0 && button(say("doors.go_on"),
      () => app.go("place"), { "data-key": "go-on" }),
    !teaching && locks(app),
    !teaching && el("h3", { "data-key": "h-doors" },
      say("doors.taught", { count: view.doors.length })),
    ...(teaching ? [] : list(app)),
  ].filter(Boolean);
}

// The one large button of the walk.
function next(app, left) {
  const { view } = app;
  if (!view.locks.length) {
    return card("next", el("p", {}, say("doors.no_locks")),
      button(say("doors.to_boards"), () => app.go("boards")));
  }
  if (!left.length) return card("next", el("p.lead", {}, say("doors.all")));
  const [{ lock }] = left;
  const count = view.locks.length;
  return card("next",
    el("p", {}, say("doors.left", { left: left.length, total: count })),
    view.doors.length === 0 && el("p", {}, say("doors.how")),
    button(say("doors.next"), () => app.act({ do: "try", lock }), { kind: "huge" }),
    el("p.soft", {}, say("doors.which_lock", { lock })));
}

// Every lock, to open one out of turn, or one that was left out.
function locks(app) {
  if (!app.view.locks.length) return null;
  return fold("locks", say("locks", { count: app.view.locks.length }),
    el("ul.rows", {}, app.view.locks.map(({ lock, door, skipped }) => el("li", { "data-key": lock },
      el("span", {}, el("strong", {}, lock), " ",
        skipped ? say("lock.skipped") : door ? say("door", { door }) : say("lock.free")),
      button(say(door ? "lock.again" : "lock.open"), () => app.act({ do: "try", lock }),
        { kind: "quiet", "aria-label": `${say(door ? "lock.again" : "lock.open")}: ${lock}` }),
      skipped && button(say("lock.back"), () => app.act({ do: "skip", lock, undo: true }),
        { kind: "quiet", "aria-label": `${say("lock.back")}: ${lock}` })))));
}

// --- the doors that are taught --------------------------------------------------------------------

function list(app) {
  const { view, ui } = app;
  if (!view.doors.length) return [el("p.soft", { "data-key": "no-doors" }, say("doors.none"))];
  const many = ui.many;
  const marked = many ?? [];
  const mark = (number) => app.set({ many: marked.includes(number)
    ? marked.filter((one) => one !== number) : [...marked, number] });
  return [
    view.doors.length > 1 && button(say(many ? "many.end" : "many"),
      () => app.set({ many: many ? null : [], door: 0 }),
      { kind: "quiet", "data-key": "many", "aria-pressed": String(Boolean(many)) }),
    many && button(say("many.all"), () => app.set({ many: view.doors.map(({ number }) => number) }),
      { kind: "quiet", "data-key": "all" }),
    many && marked.length > 0 && editMany(app, marked),
    el("ul.rows.taught", { "data-key": "doors" }, view.doors.map((door) => {
      const { number } = door;
      const open = !many && ui.door === number;
      const pressed = many ? marked.includes(number) : open;
      return el("li", { "data-key": `door-${number}` },
        el("button.row", { type: "button",
          onclick: () => (many ? mark(number) : app.set({ door: open ? 0 : number })),
          ...(many ? { "aria-pressed": String(pressed) } : { "aria-expanded": String(pressed) }) },
          el("span.plate", {}, String(number)),
          el("span", {}, el("strong", {}, say("door", { door: number })), el("br", {}),
            el("span.soft", {}, about(door))),
          many && pressed && el("span.tickmark", { "aria-hidden": "true" }, "✓")),
        open && editDoor(app, door));
    })),
  ];
}

const about = (door) => [door.size, say(`reach.${door.reach}`),
  door.switch || say("door.no_switch"), door.occupancy && say("door.senses"),
  door.heated && say("heated"), door.cooled && say("cooled")].filter(Boolean).join(", ");
