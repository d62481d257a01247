// The page of the simulated bank. State comes by server-sent events; hands go out as JSON posts.

const byId = (id) => document.getElementById(id);
let chosen = null;
let state = null;
let faults = { board: {}, compartment: {}, line: {} };
const drawn = new Map();

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function say(text) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { toast.hidden = true; }, 3500);
}

async function post(path, body = {}) {
  try {
    const answer = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const told = await answer.json();
    if (!answer.ok) say(`${told.remedy} (${told.code})`);
    return told;
  } catch {
    say("The bank does not answer.");
    return {};
  }
}

const button = (label, act, kind = "", disabled = false) =>
  make("button", { class: `act ${kind}`, type: "button", onclick: act, disabled }, label);

// A piece of the page is rebuilt only when what it shows has changed, so focus stays where it was.
function redraw(holder, key, value, build) {
  const shown = JSON.stringify(value);
  if (drawn.get(key) === shown) return;
  drawn.set(key, shown);
  const at = [...holder.querySelectorAll("button, select")].indexOf(document.activeElement);
  holder.replaceChildren(...build());
  if (at >= 0) holder.querySelectorAll("button, select")[at]?.focus();
}

function doorLabel(door) {
  const words = [`Door ${door.number}`, door.door, door.parcel ? "parcel inside" : "empty"];
  if (door.coil_on) words.push("coil on");
  return words.concat(Object.keys(door.faults)).join(", ");
}

function drawDoor(door) {
  let tile = byId(`door-${door.number}`);
  if (!tile) {
    tile = make("button", { type: "button", id: `door-${door.number}`, onclick: () => choose(door.number) },
      make("span", { class: "parcel" }),
      make("span", { class: "leaf" }, make("span", { class: "number" }, String(door.number)),
        make("span", { class: "lamp" }), make("span", { class: "handle" }), make("span", { class: "tags" })),
      make("span", { class: "outside" }, String(door.number)));
    byId("doors").append(tile);
  }
  tile.className = ["door", door.door, door.coil_on && "coil", door.parcel && "parcel-in"].filter(Boolean).join(" ");
  tile.setAttribute("aria-label", doorLabel(door));
  tile.setAttribute("aria-pressed", String(chosen === door.number));
  const tags = [];
  if (door.parcel && door.door === "closed") tags.push(make("span", { class: "tag" }, "parcel"));
  if (door.door === "closed" && !door.locked) tags.push(make("span", { class: "tag" }, "unlocked"));
  for (const fault of Object.keys(door.faults)) tags.push(make("span", { class: "tag fault" }, fault.replaceAll("_", " ")));
  tile.querySelector(".tags").replaceChildren(...tags);
}

function choose(number) {
  chosen = number;
  render();
}

const times = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

function drawPanel() {
  const door = state.doors.find((one) => one.number === chosen);
  if (!door) {
    if (!state.doors.length) byId("panel-body").textContent = "No compartments are wired: see the boards below.";
    return;
  }
  byId("panel-title").textContent = `Door ${door.number}`;
  redraw(byId("panel-body"), "panel", door, () => {
    const open = door.door === "open";
    const act = (name, body) => () => post(`/api/doors/${door.number}/${name}`, body);
    const fault = (name, on) => () => post("/api/faults", { compartment: door.number, fault: name, on });
    const last = door.openings.at(-1);
    const facts = [
      ["Door", open ? "open" : door.locked ? "closed, locked" : "closed, not locked"],
      ["Switch says", door.shows_open ? "open" : "closed"],
      ["Inside", door.parcel ? "a parcel" : "nothing"],
      ["Sensor says", door.shows_occupied === null ? "no sensor" : door.shows_occupied ? "occupied" : "empty"],
      ["Coil", `${door.coil_on ? "on" : "off"}, ${times(door.pulses, "pulse")}, longest ${door.max_on_ms} ms`],
      ["Opened", last ? `${times(door.openings_total, "time")}, last by ${last.cause} at ${seconds(last.at_ms)}` : "never"],
      ["Wired", Object.entries(door.wired).filter(([, at]) => at).map(([name, at]) => `${name} ${at}`).join(", ")],
    ];
    const picker = make("select", { "aria-label": "Fault to inject", onchange: (event) => {
      if (event.target.value) fault(event.target.value, true)();
    } }, make("option", { value: "" }, "break something…"),
    ...Object.entries(faults.compartment).map(([name, what]) => make("option", { value: name, title: what }, name.replaceAll("_", " "))));
    return [
      make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
      make("div", { class: "buttons" },
        button("Pull open", act("open_by_hand", { hold_ms: 5000 }), "", open),
        button("Push shut", act("close"), "", !open), button("Slam", act("slam"), "", !open),
        door.parcel ? button("Take parcel out", act("parcel", { inside: false }), "", !open)
          : button("Put parcel in", act("parcel", { inside: true }), "", !open)),
      make("div", { class: "buttons" },
        button("Force open", act("force"), "bad", open),
        "jam" in door.faults ? button("Unjam", act("unjam"), "on") : button("Jam", act("jam"), "bad")),
      make("div", { class: "buttons" }, picker,
        ...Object.keys(door.faults).filter((name) => name !== "jam")
          .map((name) => button(`mend ${name.replaceAll("_", " ")}`, fault(name, false), "on"))),
    ];
  });
}

function dots(label, levels, kind, onclick) {
  if (!levels.length) return "";
  return make("div", { class: "dots" }, make("b", {}, label), ...levels.map((on, channel) => {
    const attributes = { class: `dot ${kind} ${on ? "on" : ""}`, title: `${label} ${channel}: ${on ? "on" : "off"}` };
    if (!onclick) return make("span", attributes);
    return make("button", { ...attributes, type: "button", "aria-label": attributes.title, onclick: () => onclick(channel, !on) });
  }));
}

function boardCard(board) {
  const path = `/api/boards/${encodeURIComponent(board.name)}`;
  const wired = state.doors.some((door) => [door.wired.door, door.wired.occupancy].some((at) => at?.startsWith(`${board.name}:`)));
  const flip = wired ? null : (channel, active) => post(`${path}/input`, { channel, active });
  const fault = (name, on) => () => post("/api/faults", { board: board.name, fault: name, on });
  const picker = make("select", { "aria-label": `Fault of ${board.name}`, onchange: (event) => {
    if (event.target.value) fault(event.target.value, true)();
  } }, make("option", { value: "" }, "fault…"),
  ...Object.entries(faults.board).map(([name, what]) => make("option", { value: name, title: what }, name.replaceAll("_", " "))));
  return make("div", { class: `card ${board.alive ? "" : "dead"}` },
    make("h3", {}, board.name, make("span", {}, `unit ${board.unit}`)),
    make("p", {}, `${board.profile} on ${board.line}`),
    dots("out", board.outputs, "out", null), dots("in", board.inputs, "in", flip),
    make("div", { class: "buttons" },
      board.alive ? button("Kill", () => post(`${path}/kill`), "bad") : button("Revive", () => post(`${path}/revive`), "on"),
      button("Reboot", () => post(`${path}/reboot`, { boot_ms: 1500 }), "", !board.alive), picker,
      ...Object.keys(board.faults).map((name) => button(`mend ${name.replaceAll("_", " ")}`, fault(name, false), "on"))));
}

function lineCard(line) {
  const act = (name, body) => () => post(`/api/lines/${encodeURIComponent(line.name)}/${name}`, body);
  const count = line.counters;
  return make("div", { class: `card ${line.plugged ? "" : "dead"}` },
    make("h3", {}, line.name, make("span", {}, line.kind)),
    make("p", {}, line.where),
    make("p", {}, `${count.requests} requests, ${count.replies} replies, ${count.collisions} collisions, ${count.early} early`),
    make("div", { class: "buttons" },
      line.plugged ? button("Unplug", act("unplug"), "bad") : button("Replug", act("replug"), "on"),
      ...line.known_faults.map((name) => {
        const on = line.faults.includes(name);
        return button(name.replaceAll("_", " "), act(name, { on: !on }), on ? "on" : "");
      })));
}

function render() {
  if (!state) return;
  state.doors.forEach(drawDoor);
  drawPanel();
  const boards = state.boards.map(({ requests, replies, coils, ...shown }) => shown);
  redraw(byId("boards"), "boards", [boards, faults.board], () => state.boards.map(boardCard));
  redraw(byId("lines"), "lines", state.lines, () => state.lines.map(lineCard));
}

async function begin() {
  faults = await (await fetch("/api/faults")).json();
  const events = new EventSource("/api/events");
  const link = byId("link");
  events.addEventListener("state", (event) => {
    state = JSON.parse(event.data);
    link.textContent = "live";
    link.className = "link live";
    render();
  });
  events.onerror = () => {
    link.textContent = "not connected";
    link.className = "link";
  };
}

begin();
