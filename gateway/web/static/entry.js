// What is being typed: by touch, by keyboard, or by a scanner that types very fast and ends in Enter.
// What is typed is shown and never said aloud: the field is hidden from screen readers, which hear how
// many characters there are.

import { el, icon } from "./dom.js";
import { keyboardRows, ui } from "./texts.js";

const SCANNER_GAP_MS = 60; // people do not type like this
const SCANNER_KEYS_MIN = 4;
const SCAN_PAUSE_MS = 1000; // a scanner may stall within a label; whoever changes to it needs longer
const SAY_AFTER_MS = 900;
const OURS = /PLG1(?:[BD]?:|B\u00d6)/; // a QR code that is a right, or denials (FORMATS.md 7)
// A scanner presses the keys of an American keyboard. Where the machine's is German, the colon comes
// as \u00d6, which tells so for certain; Y and Z have changed places, and nothing else of Base32 has.
const GERMAN = /^PLG1B\u00d6/;
const OURS_MAX = 4400;

// kind: "code" (digits), "staff-code" (digits, shown as dots), "parcel" (letters and digits),
// "door" (the number of a compartment)
export class Entry {
  constructor(kind, { onSubmit, onTyped, say }) {
    this.kind = kind;
    this.most = { parcel: 64, door: 5 }[kind] ?? 16;
    this.value = "";
    this.onSubmit = onSubmit;
    this.onTyped = onTyped;
    this.say = say;
    this.busy = false;
    this.field = el("div.field", {
      tabindex: "0", role: "group", "data-kind": kind,
    });
    this.keys = null;
    this.saying = 0;
    this.draw();
  }

  accepts(key) {
    return this.kind === "parcel" ? /^[\x21-\x7e ]$/.test(key) : /^[0-9]$/.test(key);
  }

  type(key) {
    if (this.accepts(key) && this.value.length < this.most && !this.busy) {
      this.value += this.kind === "parcel" ? key.toUpperCase() : key;
      this.changed();
    }
  }

  erase(all = false) {
    if (!this.busy) {
      this.value = all ? "" : this.value.slice(0, -1);
      this.changed();
    }
  }

  submit() {
    const value = this.value.trim();
    if (value && !this.busy) {
      this.onSubmit(value);
    }
  }

  // A whole scan: it replaces what was begun by hand.
  take(scan) {
    if (!this.busy) {
      const signs = [...scan].filter((key) => this.accepts(key)).join("").slice(0, this.most);
      this.value = this.kind === "parcel" ? signs.toUpperCase() : signs;
      this.changed();
      this.submit();
    }
  }

  setBusy(busy) {
    this.busy = busy;
    this.draw();
  }

  changed() {
    this.draw();
    this.onTyped();
    clearTimeout(this.saying);
    this.saying = setTimeout(() => this.field.isConnected && this.say(this.count()), SAY_AFTER_MS);
  }

  count() {
    const key = this.kind === "parcel" ? "characters" : "digits";
    return ui(key, { count: this.value.length });
  }

  label() {
    return {
      code: "field_code", "staff-code": "field_staff", parcel: "field_parcel", door: "field_door",
    }[this.kind];
  }

  draw() {
    const shown = this.kind === "staff-code" ? "\u2022".repeat(this.value.length) : this.value;
    const groups = this.kind === "parcel" ? [shown] : shown.match(/.{1,4}/g) ?? [""];
    const caret = el("span.caret");
    const parts = groups.map((group) => el("span.group", {}, group));
    parts[parts.length - 1].append(caret);
    this.field.replaceChildren(el("div.typed", { "aria-hidden": "true" }, ...parts));
    this.field.setAttribute("aria-label", `${ui(this.label())}: ${this.count()}`);
    this.field.classList.toggle("long", this.value.length > 12);
    this.field.classList.toggle("longer", this.value.length > 20);
    for (const key of this.keys?.querySelectorAll("[data-needs]") ?? []) {
      key.disabled = this.busy || this.value.length === 0;
    }
  }

  keypad() {
    const digits = [..."123456789"].map((digit) => this.key(digit));
    this.keys = el(
      "div.keypad", { role: "group", "aria-label": ui("keypad") },
      ...digits, this.eraseKey(), this.key("0"), this.enterKey(),
    );
    this.draw();
    return this.keys;
  }

  keyboard() {
    const rows = keyboardRows().map((row) => [...row].map((key) => this.key(key)));
    rows.at(-1).push(this.key("-"), this.eraseKey(), this.enterKey());
    this.keys = el(
      "div.keyboard", { role: "group", "aria-label": ui("keyboard") },
      ...rows.map((keys) => el("div.row", {}, ...keys)),
    );
    this.draw();
    return this.keys;
  }

  key(sign) {
    return pad(el("button.key", { type: "button", "data-key": sign }, sign), () => this.type(sign));
  }

  eraseKey() {
    const key = el(
      "button.key.soft", { type: "button", "data-needs": true, "aria-label": ui("delete") },
      icon("delete"),
    );
    return pad(key, () => this.erase());
  }

  enterKey() {
    const key = el(
      "button.key.go", { type: "button", "data-needs": true, "data-enter": true,
        "aria-label": ui("enter") },
      icon("enter"),
    );
    return pad(key, () => this.submit());
  }
}

// A key of the screen leaves the focus where it is, or Enter of a keyboard would press it again.
function pad(key, act) {
  key.addEventListener("pointerdown", (event) => event.preventDefault());
  key.addEventListener("click", act);
  return key;
}

function american(text) {
  return text.replace(/[YZ\u00d6]/g, (sign) => ({ Y: "Z", Z: "Y" })[sign] ?? ":");
}

// The keyboard of the machine and its scanner. `current()` is the entry on screen, or null. A QR code of
// ours is taken on any screen, wherever the focus is, and none of it is ever shown: `onShown(text)`.
export function listen({ current, onEscape, onShown }) {
  let last = -SCAN_PAUSE_MS;
  let burst = ""; // keys without a scanner's gap between them
  let run = ""; // keys without a pause between them: a scan that stalled is still one scan
  let ours = ""; // a QR code of ours that is being typed
  let ending = 0;

  function finish() {
    clearTimeout(ending);
    const text = ours.toUpperCase();
    ours = burst = run = "";
    onShown(GERMAN.test(text) ? american(text) : text);
  }

  // Returns whether this key belongs to a QR code of ours.
  function isOurs(event) {
    const stalled = event.timeStamp - last >= SCAN_PAUSE_MS;
    const told = (stalled ? "" : run) + event.key;
    const found = OURS.exec(told.toUpperCase());
    if (ours === "" && found === null) {
      return false;
    }
    if (ours === "") {
      ours = told.slice(found.index);
      current()?.erase(true); // its first signs stood there for the blink of an eye
    } else if (ours.length < OURS_MAX) {
      ours += event.key;
    }
    last = event.timeStamp;
    clearTimeout(ending);
    ending = setTimeout(finish, SCAN_PAUSE_MS); // not every scanner ends with Enter
    return true;
  }

  const isScan = (event) =>
    burst.length >= SCANNER_KEYS_MIN && event.timeStamp - last < SCANNER_GAP_MS;

  function onEnter(event) {
    const entry = current();
    if (isScan(event)) {
      event.preventDefault(); // what a scanner types never presses a button
      entry?.take(run);
    } else if (event.key === "Enter" && document.activeElement?.tagName !== "BUTTON") {
      event.preventDefault();
      if (!event.repeat) {
        entry?.submit();
      }
    }
    burst = run = "";
  }

  function onSign(event) {
    const gap = event.timeStamp - last;
    burst = gap < SCANNER_GAP_MS ? burst + event.key : event.key;
    run = gap < SCAN_PAUSE_MS ? run + event.key : event.key;
    last = event.timeStamp;
    const entry = current();
    const pressing = event.key === " " && document.activeElement?.tagName === "BUTTON";
    if (entry?.accepts(event.key) && !pressing) {
      event.preventDefault();
      entry.type(event.key);
    }
  }

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) {
      return;
    }
    const entry = current();
    if (ours !== "" && (event.key === "Enter" || event.key === "Tab")) {
      event.preventDefault();
      finish();
      return;
    }
    if (event.key.length === 1 && isOurs(event)) {
      event.preventDefault(); // a space of it presses no button
      return;
    }
    if (event.key === "Escape" || event.key === "Backspace") {
      burst = run = ""; // no scanner sends these, and what is erased must not come back
    }
    if (event.key === "Enter" || event.key === "Tab") {
      onEnter(event);
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (entry?.value && !entry.busy) {
        entry.erase(true);
      } else {
        onEscape();
      }
    } else if (event.key === "Backspace") {
      event.preventDefault();
      entry?.erase();
    } else if (event.key.length === 1) {
      onSign(event);
    }
  });
}
