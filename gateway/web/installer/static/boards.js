// Step 1: what is plugged in here, which boards answer, and which of them belong to this site.

import { addressing } from "./addressing.js";
import { el } from "./dom.js";
import { NAME, button, card, choice, confirm, field, findings, fold, form, pick, progress, tick }
  from "./parts.js";
import { named, say } from "./words.js";

const SURE = new Set(["certain", "likely"]);

// What `adopt_all` takes: the best match stands alone, and nothing says that two boards answer.
const isSure = ({ matches: [best, second], findings: told }) =>
  SURE.has(best?.confidence) && best.confidence !== second?.confidence
  && !told.some(({ code }) => code === "board.same_number");

export function boards(app) {
  const { view } = app;
  const fresh = view.found.filter(({ board }) => !board);
  const sure = fresh.filter(isSure);
  return [
    view.job ? progress(app, view.job) : card("search", search(app)),
    fresh.length > 0 && el("h3", { "data-key": "h-found" },
      say("boards.found", { count: fresh.length })),
    sure.length > 1 && button(say("boards.adopt_all", { count: sure.length }),
      () => app.act({ do: "adopt_all" }), { "data-key": "adopt-all" }),
    ...fresh.map((one) => found(app, one)),
    el("h3", { "data-key": "h-ours" }, say("boards.ours", { count: view.boards.length })),
    view.boards.length === 0 && el("p.soft", { "data-key": "none" }, say("boards.none")),
    ...view.boards.map((one) => board(app, one)),
    view.boards.length > 0 && !view.job && button(say("boards.go_on"), () => app.go("doors"),
      { "data-key": "go-on", kind: fresh.length ? "quiet" : "" }),
    el("h3", { "data-key": "h-more" }, say("boards.more")),
    addressing(app),
    network(app),
    lines(view),
  ].filter(Boolean);
}

// --- looking for boards ---------------------------------------------------------------------------

function search(app) {
  const { view, ui } = app;
  const without = ui.without ?? [];
  const ports = view.ports.map(({ device }) => device).filter((one) => !without.includes(one));
  const scan = (depth) => () => app.act({ do: "scan", depth, ...(ports.length && { ports }) });
  const wanted = ports.length > 0 || view.ports.length === 0;
  const mark = (device) => () => app.set({ without: without.includes(device)
    ? without.filter((one) => one !== device) : [...without, device] });
  return [
    el("p", {}, say(view.ports.length ? "ports" : "ports.unseen", { count: view.ports.length })),
    el("ul.plain", {}, view.ports.map((port) => el("li", { "data-key": port.device },
      view.ports.length > 1
        ? tick(port.name || port.device, port.device, !without.includes(port.device),
          mark(port.device))
        : el("p.name", {}, port.name || port.device),
      el("p.soft", {}, [latency(port), echo(port)].filter(Boolean).join(" · ")),
      findings(port.findings)))),
    wanted && button(say("scan.quick"), scan("quick")),
    el("p.soft", {}, say("scan.quick.about")),
    wanted && button(say("scan.full"), scan("full"), { kind: "quiet" }),
    el("p.soft", {}, say("scan.full.about")),
  ];
}

const latency = ({ latency_ms: ms }) => ms !== null && ms !== undefined && say("port.latency", { ms });
const echo = ({ echo: on }) => on !== null && on !== undefined && on !== ""
  && say(on === true || on === "yes" ? "port.echo" : "port.no_echo");

function network(app) {
  const look = ({ tcp, framing }) =>
    app.act({ do: "look", tcp: tcp.trim(), ...(framing && { framing }) });
  const sweep = async ({ network: at }) => {
    if (await confirm(say("sweep"), say("sweep.sure", { network: at }), say("sweep.yes"))) {
      await app.act({ do: "sweep", network: at.trim() });
    }
  };
  return fold("network", say("network"),
    form(look,
      field(say("look.at"), "tcp", { required: true, inputmode: "url" }, say("look.hint")),
      choice(say("framing"), "framing", ["", "tcp", "rtu"].map((one) =>
        [one, say(`framing.${one || "any"}`)]), ""),
      el("button", {}, say("look"))),
    el("hr", {}),
    form(sweep,
      field(say("sweep.network"), "network", { required: true, inputmode: "decimal" },
        say("sweep.hint")),
      el("button.quiet", {}, say("sweep"))));
}

function lines({ lines: known }) {
  if (!known.length) return null;
  return fold("lines", say("lines", { count: known.length }),
    el("ul.plain", {}, known.map((one) => el("li", { "data-key": one.name },
      el("p.name", {}, one.name),
      el("p.soft", {}, one.where, " · ", one.kind === "serial"
        ? `${one.baud} 8${one.parity}${one.stop_bits}` : say(`framing.${one.framing}`)),
      findings(one.findings)))));
}

// --- boards that answered -------------------------------------------------------------------------

const where = ({ line, unit }) => say("board.where", { line, unit });

const sureness = (confidence) => el(`span.sure.${confidence}`, {},
  el("span.bars", { "aria-hidden": "true" }), named("confidence", confidence));

function found(app, one) {
  const [best, ...others] = one.matches;
  const adopt = (profile) => () => app.act({ do: "adopt", key: one.key, profile });
  const told = Object.entries(one.device_id ?? {});
  return card(`found-${one.key}`,
    el("h4", {}, best ? best.title : say("boards.unknown")),
    el("p.soft", {}, where(one)),
    best && sureness(best.confidence),
    findings(one.findings),
    best && button(say("boards.adopt"), adopt(best.profile),
      { "aria-label": `${say("boards.adopt")}: ${best.title}, ${where(one)}` }),
    (best || told.length > 0) && fold(`why-${one.key}`, say("boards.why"),
      best && el("ul", {}, best.evidence.map((line) => el("li", {}, line))),
      told.length > 0 && el("dl", {}, told.map(([key, value]) =>
        [el("dt", {}, key), el("dd", {}, String(value))])),
      others.map((other) => el("div.other", {},
        el("p", {}, other.title, " ", sureness(other.confidence)),
        el("ul.soft", {}, other.evidence.map((line) => el("li", {}, line))),
        button(say("boards.adopt_as", { title: other.title }), adopt(other.profile),
          { kind: "quiet" })))),
    guided(app, one, !best));
}

// A board that nobody knows: what a person can read off it.
function guided(app, one, alone) {
  const options = (counts) => counts.map((count) => [count, String(count)]);
  const adopt = ({ outputs, inputs }) =>
    app.act({ do: "adopt", key: one.key, profile: `generic-${outputs}x${inputs}` });
  const inside = form(adopt,
    el("p", {}, say("guided.text")),
    choice(say("guided.outputs"), "outputs", options([0, 1, 2, 4, 6, 8, 16, 32]), 8),
    choice(say("guided.inputs"), "inputs", options([0, 1, 2, 4, 6, 8, 12, 16, 32]), 8),
    el("p.soft", {}, say("guided.care")),
    el("button", {}, say("guided.adopt")));
  return alone ? inside : fold(`guided-${one.key}`, say("guided"), inside);
}

// --- boards of this site --------------------------------------------------------------------------

function board(app, one) {
  const { name, profile } = one;
  const others = app.view.found.filter(({ board: of, matches }) =>
    !of && matches.some((match) => match.profile === profile));
  const drop = async () => {
    if (await confirm(say("drop", { name }), say("drop.text"), say("drop.yes"))) {
      await app.act({ do: "drop_board", name });
    }
  };
  return card(`board-${name}`,
    el("h4", {}, name),
    el("p", {}, one.title),
    el("p.soft", {}, [where(one), one.outputs && say("board.outputs", { count: one.outputs }),
      one.inputs && say("board.inputs", { count: one.inputs }),
      ...[].concat(one.measures ?? []).map((measure) => named("measure", measure)),
    ].filter(Boolean).join(" · ")),
    one.by_hand && el("p.soft", {}, one.by_hand),
    findings(one.findings),
    fold(`change-${name}`, say("board.change"),
      form(({ to }) => app.act({ do: "rename_board", name, to: to.trim() }),
        field(say("board.name"), `to-${name}`, { name: "to", required: true, value: name,
          pattern: NAME }, say("name.hint")),
        el("button.quiet", {}, say("board.rename"))),
      others.length > 0
        ? form(({ key }) => app.act({ do: "replace_board", name, key }),
          pick(say("board.replace_by"), `by-${name}`, others.map(({ key, line, unit }) =>
            [key, where({ line, unit })]), others[0].key, undefined, "key"),
          el("button.quiet", {}, say("board.replace")))
        : el("p.soft", {}, say("board.replace.how")),
      button(say("drop", { name }), drop, { kind: "quiet" })));
}
