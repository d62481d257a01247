// The line to the gateway: the view comes in by a long poll, acts go out. A link that breaks is
// called again, each time a little later and never at the same moment as everybody else.

const WAIT_S = 25;
const POLL_MS = (WAIT_S + 10) * 1000;
const ACT_MS = 40_000;
const PACE_MS = 150; // a scan changes the view faster than anybody reads
const RETRY_MS = [400, 1000, 2000, 4000, 8000];

let call = null; // the poll under way

const token = () => document.body.dataset.csrf;

// Asks in one place: who is signed out goes to pairing, whatever they asked.
export async function ask(path, more = {}) {
  const answer = await fetch(path, { cache: "no-store", ...more });
  if (answer.status === 401) location.assign("/");
  return answer;
}

// Calls `onView(view)` whenever something visible has changed, `onLost()` when the link breaks.
// `tick()` is what is shown now. Never ends.
export async function follow(tick, onView, onLost) {
  for (let failures = 0; ; ) {
    if (document.hidden) await visible();
    const after = tick();
    let view = null;
    call = new AbortController();
    const late = setTimeout(() => call.abort(), POLL_MS);
    try {
      const query = after === null || failures ? "" : `?after=${after}&wait=${WAIT_S}`;
      const answer = await ask(`/api/commission${query}`, { signal: call.signal });
      if (!answer.ok) throw new Error(String(answer.status));
      view = await answer.json();
    } catch {
      onLost();
      const most = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
      failures += 1;
      await pause(most * (0.5 + Math.random() / 2));
      continue;
    } finally {
      clearTimeout(late);
    }
    failures = 0;
    // An act may have been answered meanwhile: then its view is the newer one.
    onView(tick() === after || view.tick > tick() ? view : null);
    await pause(PACE_MS);
  }
}

// One act. Returns { view } or { refusal: {code, remedy, evidence} }; throws when the link breaks.
export async function post(act) {
  try {
    const { told, refusal } = await postTo("/api/commission", act);
    return { view: told, refusal };
  } catch (error) {
    call?.abort(); // what stands now is to be asked at once, not when the poll ends
    throw error;
  }
}

// Posts JSON to any path. Returns { told } or { refusal }.
export async function postTo(path, body) {
  const answer = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Csrf-Token": token() },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(ACT_MS),
  });
  const told = await answer.json();
  return answer.ok ? { told } : { refusal: told };
}

// Waits; a link that comes back, or a phone that is taken out of a pocket, ends the waiting.
function pause(ms) {
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      done();
    };
    const timer = setTimeout(end, ms);
    addEventListener("online", end);
  });
}

function visible() {
  return new Promise((done) => {
    document.addEventListener("visibilitychange", done, { once: true });
  });
}
