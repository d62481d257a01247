// Tests a door without leaving the page. Without this script the same forms work, with a new page.

const told = document.querySelector("#told");

function tell(text, bad) {
  told.className = bad ? "bad" : "";
  told.textContent = text;
}

async function test(form) {
  const { door } = form.dataset;
  const button = form.querySelector("button");
  button.disabled = true;
  tell(told.dataset.wait, false);
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { "X-Csrf-Token": form.elements.csrf.value, Accept: "application/json" },
    });
    if (answer.status === 401) {
      location.reload();
      return;
    }
    const { code } = await answer.json();
    const text = answer.ok ? told.dataset.done : told.dataset.failed;
    tell(text.replace("{door}", door).replace("{code}", code ?? ""), !answer.ok);
  } catch {
    tell(told.dataset.lost, true);
  } finally {
    button.disabled = false;
    button.focus();
  }
}

for (const form of document.querySelectorAll("form[data-door]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    test(form);
  });
}
