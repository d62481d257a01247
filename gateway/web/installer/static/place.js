// Step 3: the picture of the bank, as one stands before it. A door goes into a cell by dragging it,
// by touching door and cell, or by the keyboard: Enter, arrows, Enter.

import { el } from "./dom.js";
import { draggable } from "./drag.js";
import { button, card, choice, fold, form, progress } from "./parts.js";
import { say } from "./words.js";

const HEIGHTS = { S: 1, M: 2, L: 3, XL: 4 };
const heightOf = (door) => (door.column > 0 ? door.rows : HEIGHTS[door.size]) || 1;

export function place(app) {
  const { view, ui } = app;
  if (!view.doors.length) return [el("p.soft", { "data-key": "none" }, say("doors.none"))];
  const free = view.doors.filter(({ column }) => !column);
  const picked = view.doors.find(({ number }) => number === ui.picked);
  return [
    view.job && progress(app, view.job),
    el("p", { id: "place-how", "data-key": "how" },
      say(picked ? "place.where" : "place.how", { door: ui.picked }), " ",
      el("span.by-keys", {}, say("place.keys"))),
    free.length > 0 ? tray(app, free) : el("p.good", { "data-key": "all" }, say("place.all")),
    picked && inHand(app, picked),
    grid(app, picked),
    el("div.pair", { "data-key": "wider" },
      button(say("place.column"), () => app.set({ columns: size(app).columns + 1 }),
        { kind: "quiet" }),
      button(say("place.row"), () => app.set({ rows: size(app).rows + 1 }), { kind: "quiet" })),
    arrange(app),
    !free.length && button(say("place.go_on"), () => app.go("proof"), { "data-key": "go-on" }),
  ].filter(Boolean);
}

const pickUp = (app, { number }) => app.set({ picked: app.ui.picked === number ? 0 : number });

async function put(app, number, column, row) {
  const door = app.view.doors.find((one) => one.number === number);
  const done = await app.act({ do: "place", number, column, row, rows: heightOf(door) });
  if (done) {
    app.tell(say("place.placed", { door: number, column, row }));
    app.set({ picked: 0 });
  }
}

const doorKey = (app, door, more) => el("button.box", {
  type: "button", "data-key": `box-${door.number}`, "data-door": door.number,
  "aria-pressed": String(app.ui.picked === door.number),
  onclick: () => pickUp(app, door),
  onpointerdown: draggable((column, row) => put(app, door.number, column, row)),
  ...more,
}, el("strong", {}, String(door.number)), el("span", {}, door.size));

function tray(app, free) {
  return el("div.tray", { "data-key": "tray", role: "group", "aria-label": say("place.tray") },
    free.map((door) => doorKey(app, door,
      { "aria-label": say("place.free_door", { door: door.number, size: door.size }) })));
}

// The door that was picked: how high it is, and out of the picture again.
function inHand(app, door) {
  const { number, column, row } = door;
  if (!column) return null;
  return card("in-hand",
    choice(say("place.height", { door: number }), `rows-${number}`,
      [1, 2, 3, 4, 5, 6].map((rows) => [rows, String(rows)]), door.rows,
      (rows) => app.act({ do: "place", number, column, row, rows: Number(rows) })),
    button(say("place.out", { door: number }), async () => {
      if (await app.act({ do: "place", number, column: 0, row: 0 })) app.set({ picked: 0 });
    }, { kind: "quiet" }));
}

// --- the picture ----------------------------------------------------------------------------------

function size({ view, ui }) {
  const placed = view.doors.filter(({ column }) => column);
  const most = (of) => placed.reduce((sum, door) => Math.max(sum, of(door)), 0);
  const room = placed.length < view.doors.length; // for those that are to come
  return {
    columns: Math.max(ui.columns ?? 0, most(({ column }) => column), room ? 3 : 1),
    rows: Math.max(ui.rows ?? 0, most(({ row, rows }) => row + rows - 1), room ? 6 : 1),
  };
}

function grid(app, picked) {
  const { columns, rows } = size(app);
  const cells = new Map(); // "column,row" -> the door there
  for (const door of app.view.doors.filter(({ column }) => column)) {
    for (let row = door.row; row < door.row + door.rows; row += 1) {
      cells.set(`${door.column},${row}`, door);
    }
  }
  const here = app.ui.cell ?? "1,1";
  const made = [];
  for (let row = 1; row <= rows; row += 1) {
    for (let column = 1; column <= columns; column += 1) {
      const door = cells.get(`${column},${row}`);
      if (!door) made.push(free(app, picked, column, row, here));
      else if (door.row === row) made.push(taken(app, door, here));
    }
  }
  return el("div.bank-frame", { "data-key": "bank" }, el("div.bank", {
    role: "group", "aria-label": say("place.bank", { columns, rows }),
    "aria-describedby": "place-how", style: { "--columns": columns },
    onkeydown: (event) => arrow(app, event, columns, rows),
  }, made));
}

const at = (column, row, rows) => ({ "grid-column": column, "grid-row": `${row} / span ${rows}` });

// Only one cell is a stop of the Tab key; arrows go on from there.
function free(app, picked, column, row, here) {
  const cell = `${column},${row}`;
  return el("button.cell", {
    type: "button", "data-key": `cell-${cell}`, "data-cell": cell, "data-rows": 1,
    tabindex: cell === here ? 0 : -1, style: at(column, row, 1),
    "aria-label": say("place.cell", { column, row }),
    "aria-disabled": String(!picked),
    onclick: () => (picked ? put(app, picked.number, column, row)
      : app.tell(say("place.first_door"))),
  }, picked ? "+" : "");
}

function taken(app, door, here) {
  const { column, row, rows } = door;
  const inside = here.split(",").map(Number);
  const stop = inside[0] === column && inside[1] >= row && inside[1] < row + rows;
  return doorKey(app, door, {
    "data-cell": `${column},${row}`, "data-rows": rows, tabindex: stop ? 0 : -1,
    style: at(column, row, rows),
    "aria-label": say("place.door", { door: door.number, size: door.size, column, row, rows }),
  });
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function arrow(app, event, columns, rows) {
  const step = STEPS[event.key];
  const from = event.target.closest("[data-cell]");
  if (!step || !from) return;
  event.preventDefault();
  const [column, row] = from.dataset.cell.split(",").map(Number);
  const high = step[1] > 0 ? Number(from.dataset.rows) : 1;
  const to = [column + step[0], row + step[1] * high];
  if (to[0] < 1 || to[0] > columns || to[1] < 1 || to[1] > rows) return;
  const bank = from.parentElement;
  app.set({ cell: to.join(",") });
  bank.querySelector('[tabindex="0"]')?.focus();
}

// --- all at once ----------------------------------------------------------------------------------

function arrange(app) {
  const { doors } = app.view;
  const fill = async ({ count }) => {
    const each = Math.ceil(doors.length / Number(count));
    for (const { number, column } of doors) { // first out of each other's way
      if (column && !await app.act({ do: "place", number, column: 0, row: 0 })) return;
    }
    let [column, row] = [1, 1];
    for (const [index, { number, size: one }] of doors.entries()) {
      if (index && index % each === 0) [column, row] = [column + 1, 1];
      const rows = HEIGHTS[one] ?? 1;
      if (!await app.act({ do: "place", number, column, row, rows })) return;
      row += rows;
    }
  };
  return fold("arrange", say("arrange"),
    form(fill, el("p", {}, say("arrange.text")),
      choice(say("arrange.columns"), "count", [1, 2, 3, 4, 5, 6].map((n) => [n, String(n)]), 2),
      el("button.quiet", {}, say("arrange.do"))));
}
