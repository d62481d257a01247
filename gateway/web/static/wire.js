// The line to the gateway: screens come in, what a person does goes out.
// The stream is read by fetch and not by EventSource, because a page must notice a gateway that
// hangs: its heartbeat is a comment, which EventSource swallows.

const SILENCE_MS = 15_000; // three heartbeats
const RETRY_MS = [300, 1000, 2000, 4000];
const QUERY = (() => {
  const kiosk = new URLSearchParams(location.search).get("kiosk");
  return kiosk === null ? "" : `?kiosk=${encodeURIComponent(kiosk)}`;
})();

// Calls `onScreen(screen, first)` for each screen (first: it came on connecting), `onLost()` when
// the line breaks. Never ends.
export async function watch(onScreen, onLost) {
  for (let failures = 0; ; failures += 1) {
    try {
      await stream((screen, first) => {
        failures = 0;
        onScreen(screen, first);
      });
    } catch {
      // However the line broke, the remedy is the same: say so, and call again.
    }
    onLost();
    await new Promise((done) => {
      setTimeout(done, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
    });
  }
}

async function stream(onScreen) {
  const stop = new AbortController();
  let watchdog = setTimeout(() => stop.abort(), SILENCE_MS);
  try {
    const answer = await fetch(`/api/events${QUERY}`, { signal: stop.signal });
    if (!answer.ok) {
      return;
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    let first = true;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      clearTimeout(watchdog);
      watchdog = setTimeout(() => stop.abort(), SILENCE_MS);
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) {
        const data = /^event: screen\ndata: (.*)$/.exec(event);
        if (data) {
          onScreen(JSON.parse(data[1]), first);
          first = false;
        }
      }
    }
  } finally {
    clearTimeout(watchdog);
    stop.abort();
  }
}

// Returns whether the gateway took it.
export async function send(path, body) {
  try {
    const answer = await fetch(`/api/${path}${QUERY}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(5000),
    });
    return answer.status === 202;
  } catch {
    return false;
  }
}
