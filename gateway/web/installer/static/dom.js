// Making elements, and turning the page into another without losing what a person is doing.
// No markup from strings anywhere: what comes from boards, people or the wire is text.

export const $ = (selector) => document.querySelector(selector);

// el("button.quiet", { onclick, "aria-label": "x", style: { "--at": 2 } }, "text", child)
// Children may be lists; what is false, undefined, null or "" is left out, of attributes the first
// three.
export function el(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") {
      for (const [key, part] of Object.entries(value)) element.style.setProperty(key, part);
    } else if (name.startsWith("on")) {
      element[name] = value;
    } else if (value !== false && value !== undefined && value !== null) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat(Infinity).filter((one) => one || one === 0));
  return element;
}

// Make the children of `parent` what is `wanted`. An element stays the one it was while tag and
// `data-key` are the same: focus, what was typed, what is unfolded and scrolled outlive an update.
export function morph(parent, wanted) {
  const old = [...parent.childNodes];
  const keyed = new Map(old.filter(keyOf).map((node) => [keyOf(node), node]));
  const plain = old.filter((node) => !keyOf(node));
  const pairs = wanted.map((node) => {
    const kept = keyOf(node) ? keyed.get(keyOf(node)) : plain.shift();
    return kept && kept.nodeName === node.nodeName ? [kept, node] : [node, null];
  });
  const staying = new Set(pairs.map(([node]) => node));
  for (const node of old) if (!staying.has(node)) node.remove(); // first: so nothing else moves
  pairs.forEach(([node, like], index) => {
    const there = parent.childNodes[index] ?? null;
    if (there !== node) parent.insertBefore(node, there);
    if (like) update(node, like);
  });
}

const keyOf = (node) => node.dataset?.key;
const HANDLERS = ["onclick", "oninput", "onchange", "onsubmit", "onkeydown", "onpointerdown"];

function update(kept, like) {
  if (kept.nodeType === Node.TEXT_NODE) {
    if (kept.data !== like.data) kept.data = like.data;
    return;
  }
  // People unfold and fold; the page says only how it begins. A style is no attribute (the CSP).
  const ours = ({ name }) => name !== "style" && !(name === "open" && kept.nodeName === "DETAILS");
  for (const { name } of [...kept.attributes].filter(ours)) {
    if (!like.hasAttribute(name)) kept.removeAttribute(name);
  }
  for (const { name, value } of [...like.attributes].filter(ours)) {
    if (kept.getAttribute(name) !== value) kept.setAttribute(name, value);
  }
  if (kept.style.cssText !== like.style.cssText) kept.style.cssText = like.style.cssText;
  for (const name of HANDLERS) kept[name] = like[name];
  morph(kept, [...like.childNodes]);
}
