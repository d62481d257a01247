// Dragging a door by finger, pen or mouse. A finger that moves at once scrolls the page; one that
// rests for a moment takes the door along.

const REST_MS = 180;
const SLACK_PX = 8;

// Returns a handler for `pointerdown`; `drop(column, row)` is called over a cell.
export function draggable(drop) {
  return (event) => {
    if (event.button !== 0) return;
    const box = event.currentTarget;
    const { pointerId, clientX: x, clientY: y, pointerType } = event;
    let ghost = null;
    const timer = setTimeout(() => pointerType !== "mouse" && begin(x, y), REST_MS);
    const end = () => {
      clearTimeout(timer);
      ghost?.remove();
      mark(null);
      for (const [name, heard] of heardBy) removeEventListener(name, heard, { passive: false });
    };
    const begin = (toX, toY) => {
      ghost = box.cloneNode(true);
      ghost.removeAttribute("data-key");
      ghost.classList.add("ghost");
      ghost.setAttribute("aria-hidden", "true");
      document.body.append(ghost);
      follow(toX, toY);
    };
    const follow = (toX, toY) => {
      ghost.style.left = `${toX}px`;
      ghost.style.top = `${toY}px`;
      mark(cellAt(toX, toY));
    };
    const move = (moved) => {
      if (moved.pointerId !== pointerId) return;
      const far = Math.hypot(moved.clientX - x, moved.clientY - y) > SLACK_PX;
      if (!ghost && far && pointerType === "mouse") begin(x, y);
      if (!ghost && far) end();
      else if (ghost) follow(moved.clientX, moved.clientY);
    };
    const up = (lifted) => {
      if (lifted.pointerId !== pointerId) return;
      const cell = ghost && cellAt(lifted.clientX, lifted.clientY);
      if (ghost) addEventListener("click", swallow, { capture: true, once: true });
      // A click need not follow; then nothing is left to swallow.
      if (ghost) setTimeout(() => removeEventListener("click", swallow, { capture: true }), 50);
      end();
      if (cell) drop(...cell.dataset.cell.split(",").map(Number));
    };
    const still = (touched) => ghost && touched.preventDefault(); // the page does not scroll then
    const heardBy = [["pointermove", move], ["pointerup", up], ["pointercancel", end],
      ["touchmove", still]];
    for (const [name, heard] of heardBy) addEventListener(name, heard, { passive: false });
  };
}

const swallow = (event) => {
  event.stopPropagation();
  event.preventDefault();
};

const cellAt = (x, y) => document.elementsFromPoint(x, y)
  .map((one) => one.closest("[data-cell]")).find((one) => one && !one.closest(".ghost")) ?? null;

function mark(cell) {
  for (const one of document.querySelectorAll(".cell.over")) one.classList.remove("over");
  cell?.classList.add("over");
}
