// Short tones beside the words, never instead of them. Where sound is not allowed there is none.

const TONES = {
  ok: [[660, 0], [880, 0.11]],
  care: [[520, 0]],
  bad: [[330, 0], [247, 0.16]],
};
const LENGTH_S = 0.14;

let context = null;

export function tone(name) {
  const notes = TONES[name];
  if (!notes || new URLSearchParams(location.search).get("sound") === "off") {
    return;
  }
  try {
    context ??= new AudioContext();
    if (context.state !== "running") {
      context.resume().catch(() => {});
    }
    for (const [hertz, after] of notes) {
      play(hertz, context.currentTime + after);
    }
  } catch {
    context = null;
  }
}

function play(hertz, at) {
  const sound = new OscillatorNode(context, { frequency: hertz });
  const loudness = new GainNode(context, { gain: 0 });
  loudness.gain.setValueAtTime(0, at);
  loudness.gain.linearRampToValueAtTime(0.2, at + 0.015);
  loudness.gain.linearRampToValueAtTime(0, at + LENGTH_S);
  sound.connect(loudness).connect(context.destination);
  sound.start(at);
  sound.stop(at + LENGTH_S);
}
