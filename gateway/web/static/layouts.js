// How each kind of screen is laid out. screens.json says which kind a screen is and which buttons it
// has; here are the shapes. Each function returns the children of <main>.

import { el, icon } from "./dom.js";
import { hasWhy, screenText, text, ui } from "./texts.js";

const PICTURES = { open_again: "open", help: "help", mine: "parcel", collect: "collect", deliver: "deliver" };

// "home:done" in screens.json: the button `home`, labelled with the text `done`.
export function button(spec, press, ...classes) {
  const [name, label = name] = spec.split(":");
  const picture = PICTURES[name];
  return el(
    ["button.act", ...classes].join("."),
    { type: "button", "data-button": name, onclick: () => press(name) },
    picture ? icon(picture) : null, el("span", {}, text("button", label)),
  );
}

function title(screen) {
  return el("h1", { id: "title", tabindex: "-1" }, screenText(screen, "title"));
}

function lead(screen) {
  const again = screen.count > 1 ? screenText(screen, "again") : "";
  const said = again || screenText(screen, "text");
  return said ? el("p.lead", {}, said) : null;
}

// Why something was refused, in words; none where the screen has words of its own for this `why`. A
// code we have no words for is told as "that did not work" where a person typed something.
export function refusal(screen, spec) {
  const typed = spec.send !== undefined || spec.choice !== undefined;
  if (screen.why === "" || spec.own || (!hasWhy(screen.why) && !typed)) {
    return "";
  }
  return text("why", hasWhy(screen.why) ? screen.why : "other", screen);
}

function notice(screen, spec) {
  const said = refusal(screen, spec);
  return said ? el("p.notice", {}, icon("stop"), el("span", {}, said)) : null;
}

function actions(spec, press) {
  if (spec.buttons.length === 0) {
    return null;
  }
  const made = spec.buttons.map((one, place) => button(one, press, place === 0 && spec.first !== false ? "first" : "more"));
  return el("div.actions", {}, ...made);
}

function welcome(screen, spec, { press }) {
  const tiles = spec.buttons.map((name, place) => el(
    `button.tile.${place === 0 ? "first" : "more"}`,
    { type: "button", "data-button": name, onclick: () => press(name) },
    icon(name), el("strong", {}, text("button", name)), el("small", {}, ui(`${name}_hint`)),
  ));
  return [el("header", {}, title(screen), lead(screen)), el("div.tiles", {}, ...tiles)];
}

function keypad(screen, spec, { entry }) {
  return [
    el("div.words", {}, title(screen), notice(screen, spec) ?? lead(screen), entry.field),
    entry.keypad(),
  ];
}

function scan(screen, spec, { entry, memory, again }) {
  const stored = screen.door !== null && screen.why === "";
  const said = notice(screen, spec) ?? (stored
    ? el("p.notice.good", {}, icon("check"),
      el("span", {}, screenText(screen, "stored")))
    : lead(screen));
  const change = el(
    "button.act.more", { type: "button", "data-mode": true, onclick: () => {
      memory.typing = !memory.typing;
      again(".field");
    } },
    icon(memory.typing ? "scan" : "keyboard"),
    el("span", {}, ui(memory.typing ? "scan_instead" : "type_instead")),
  );
  if (memory.typing) {
    return [
      el("div.words", {}, el("div.heading", {}, title(screen), change), said, entry.field),
      entry.keyboard(),
    ];
  }
  return [
    el("div.picture", {}, el("div.beam", {}, icon("scan"))),
    el("div.words", {}, title(screen), said, entry.field, change),
  ];
}

function sizes(screen, spec, { press, memory, again }) {
  const cards = screen.sizes.map(([size, free]) => el(
    `button.size.size-${size}`,
    {
      type: "button", disabled: free === 0, "data-size": size,
      onclick: () => press(spec.choice, memory.low ? `${size} low` : size),
    },
    el("span.box", {}, el("span")), el("strong", {}, size),
    el("span.word", {}, ui(`size.${size}`)),
    el("small", {}, free === 0 ? ui("none_free") : ui("free", { count: free })),
  ));
  const low = el(
    "button.switch",
    {
      type: "button", role: "switch", "aria-checked": String(memory.low), onclick: () => {
        memory.low = !memory.low;
        again("button.switch");
      },
    },
    icon("low"),
    el("span.what", {}, el("strong", {}, ui("low")), el("small", {}, ui("low_hint"))),
    el("span.knob", { "aria-hidden": "true" }), el("span.state", {}, ui(memory.low ? "on" : "off")),
  );
  return [
    el("header", {}, title(screen), notice(screen, spec) ?? lead(screen)),
    el("div.sizes", {}, ...cards), low,
  ];
}

function doors(screen, spec, { press }) {
  const plates = screen.doors.map((door) => el(
    "button.small-door",
    {
      type: "button", "data-door": door, "aria-label": ui("take_back", { door }),
      onclick: () => press(spec.choice, String(door)),
    },
    el("small", {}, ui("door")), el("strong", {}, String(door)),
  ));
  return [
    el("header", {}, title(screen), notice(screen, spec) ?? lead(screen)),
    plates.length > 0
      ? el("div.small-doors", {}, ...plates)
      : el("p.notice.good", {}, icon("parcel"), el("span", {}, ui("nothing"))),
  ];
}

function door(screen, spec, { press }) {
  const number = String(screen.door ?? "");
  const plate = el(
    `div.plate.digits-${number.length}`, { "aria-hidden": "true" },
    el("small", {}, ui("door")), el("strong", {}, number), el("span.badge", {}, icon(spec.icon)),
  );
  const words = el(
    "div.words", {}, title(screen), lead(screen), notice(screen, spec), actions(spec, press),
  );
  return screen.door === null ? notices(screen, spec, { press }) : [plate, words];
}

function notices(screen, spec, { press }) {
  return [
    el("div.sign", { "aria-hidden": "true" }, icon(spec.icon)),
    el("div.words", {}, title(screen), lead(screen), notice(screen, spec), actions(spec, press)),
  ];
}

// What an installer needs to pair: the QR, and for a browser its address, the words and the code.
function pairing(screen, spec, { press }) {
  const query = location.search;
  const qr = el("img.qr", { src: `/api/pairing.svg${query}`, alt: "", onerror: () => qr.remove() });
  const facts = el("div.pairing", { "aria-live": "polite" });
  fetch(`/api/pairing${query}`).then(async (answer) => {
    if (!answer.ok) {
      facts.append(el("p.notice", {}, icon("stop"), el("span", {}, ui("pairing_off"))));
      return;
    }
    const told = await answer.json();
    facts.append(
      el("p.where", {}, told.url),
      el("p.six", { lang: "en" }, told.words.join(" ")),
      told.typed === "" ? "" : el("p.letters", {}, told.typed),
    );
  }).catch(() => {});
  return [
    el("div.sign", {}, qr),
    el("div.words", {}, title(screen), lead(screen), facts, actions(spec, press)),
  ];
}

export const LAYOUTS = { welcome, keypad, scan, sizes, doors, door, notice: notices, pairing };
