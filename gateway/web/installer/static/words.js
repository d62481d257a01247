// The words: one file a language, read once, with what each finding means and what cures it.

let words = { texts: {}, findings: {} };

export async function loadWords() {
  const answer = await fetch(`/static/words-${document.documentElement.lang}.json`);
  words = await answer.json();
}

const fill = (text, values) =>
  text.replace(/\{(\w+)\}/g, (_, name) => String(values?.[name] ?? ""));

// What comes from a board may be called like something that every object has.
const of = (table, key) => (Object.hasOwn(table, key) ? table[key] : undefined);

// One text with its values; `count` chooses the plural (`key` for many, `key.one` for one).
export function say(key, values = {}) {
  const one = values.count === 1 ? of(words.texts, `${key}.one`) : undefined;
  return fill(one ?? of(words.texts, key) ?? key, values);
}

// A word of the gateway's own (a phase, a confidence) as a person reads it; itself where unknown.
export const named = (kind, value) => of(words.texts, `${kind}.${value}`) ?? String(value);

// What a code is, and what to do: by the table of codes, or by the remedy that came with it.
export function meaning(code, evidence = {}, remedy = "") {
  const [what, cure] = of(words.findings, code) ?? [];
  return {
    what: what ? fill(what, evidence) : say(remedy ? "refused" : "unnamed", { code }),
    cure: cure ? fill(cure, evidence) : remedy,
  };
}

// Where a finding is, as the gateway names it: a door, a line, or a name that is nobody's language.
export function place(about) {
  const [, kind, name] = /^(door|line) (\S+)$/.exec(about) ?? [];
  return kind ? say(kind, { [kind]: name }) : about;
}

export const profiles = () => words.profiles ?? [];

// Milliseconds as a person reads them.
export const took = (ms) => say("ms", { ms });
