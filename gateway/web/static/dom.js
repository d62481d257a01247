// Making elements, and the few pictures of the page. No markup from strings anywhere.

const SVG = "http://www.w3.org/2000/svg";

// el("button.key", {type: "button"}, "7"): an element, its classes, attributes and children.
export function el(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  element.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else if (value !== false && value !== undefined) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

// Strokes on a grid of 24.
const ICONS = {
  collect: "M4 8.5 12 4.5l8 4v8l-8 4-8-4zM4 8.5l8 4 8-4M12 12.5v8",
  deliver: "M2.5 6.5h11v10h-11zM13.5 10h4l4 3.5v3h-8zM6.5 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM17.5 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  check: "M5 12.5 10 17.5 19.5 7",
  open: "M5 20.5v-17h14v17M2.5 20.5h19M5 3.5l8 3v17l-8-3M10.2 13.6v1.4",
  pull: "M20 12H6M11 6.5 5.5 12l5.5 5.5M3 4v16",
  push: "M4 12h13M12.5 7l5 5-5 5M21 4v16",
  parcel: "M4 8.5 12 4.5l8 4v8l-8 4-8-4zM4 8.5l8 4 8-4M12 12.5v8M8 6.5l8 4",
  look: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  stop: "M12 7v6M12 16.6v.4M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19z",
  pause: "M9 8.5v7M15 8.5v7M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19z",
  help: "M9.2 9.3a2.9 2.9 0 1 1 4.2 2.6c-.9.5-1.4 1-1.4 2.1M12 17v.3M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19z",
  scan: "M3 8V4h4M17 4h4v4M21 16v4h-4M7 20H3v-4M7 8.5v7M10 8.5v7M12.5 8.5v7M15 8.5v7M17.2 8.5v7",
  keyboard: "M2.5 6.5h19v11h-19zM6 10h.5M9.5 10h.5M13 10h.5M16.5 10h1M7.5 14h9",
  delete: "M8.5 5.5h12v13h-12L3 12zM12 9.5l5 5M17 9.5l-5 5",
  enter: "M5 12.5 10 17.5 19.5 7",
  globe: "M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19zM2.5 12h19M12 2.5c5 5.5 5 13.5 0 19M12 2.5c-5 5.5-5 13.5 0 19",
  low: "M10 4.5a1.5 1.5 0 1 0 0-.1M10 7.5v6h5l2.5 5M13 10.5h-3M8 11a5 5 0 1 0 6 6.5",
  clock: "M12 7v5l3.5 2M12 21.5a9.5 9.5 0 1 0 0-19 9.5 9.5 0 0 0 0 19z",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(SVG, name === "busy" ? "circle" : "path");
  if (name === "busy") {
    for (const [key, value] of [["cx", 12], ["cy", 12], ["r", 9]]) {
      shape.setAttribute(key, value);
    }
  } else {
    shape.setAttribute("d", ICONS[name]);
  }
  svg.append(shape);
  return svg;
}
