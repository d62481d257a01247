// Tests a door without leaving the page, and keeps the doors' state as it is now. Without this
// script the same forms work, with a new page.

const LOOK_MS = 2000;
const told = document.querySelector("#told");
const whys = JSON.parse(told.dataset.whys);

function tell(text, bad) {
  told.className = bad ? "bad" : "";
  told.textContent = text;
}

async function ask(path, more) {
  const answer = await fetch(path, more);
  if (answer.status === 401) location.reload();
  return answer;
}

async function test(form) {
  const { door } = form.dataset;
  const button = form.querySelector("button");
  button.disabled = true;
  tell(told.dataset.wait, false);
  try {
    const headers = { "X-Csrf-Token": form.elements.csrf.value, Accept: "application/json" };
    const answer = await ask(form.action, { method: "POST", headers });
    const { code } = await answer.json();
    const text = answer.ok ? told.dataset.done : told.dataset.failed;
    tell(text.replace("{door}", door).replace("{why}", whys[code] ?? code), !answer.ok);
  } catch {
    tell(told.dataset.lost, true);
  } finally {
    button.disabled = false;
    button.focus();
  }
}

async function look() {
  if (document.hidden) return;
  try {
    const { doors } = await (await ask("/api/status")).json();
    for (const { door, open } of doors ?? []) {
      const seen = document.querySelector(`[data-seen="${door}"]`);
      const { open: yes, closed: no, unseen } = told.dataset;
      if (seen) seen.textContent = open === null ? unseen : open ? yes : no;
    }
  } catch {
    // The next look tells.
  }
}

for (const form of document.querySelectorAll("form[data-door]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    test(form);
  });
}
setInterval(look, LOOK_MS);
