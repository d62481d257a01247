// The words. A catalogue is texts/<language>.json; a test holds all of them together.

export const LANGUAGES = ["en", "de"];

const catalogues = {};
let language = "en";

export async function loadTexts() {
  for (const name of LANGUAGES) {
    catalogues[name] = await (await fetch(`/static/texts/${name}.json`)).json();
  }
}

export function setLanguage(name) {
  language = LANGUAGES.includes(name) ? name : LANGUAGES[0];
  document.documentElement.lang = language;
}

export const currentLanguage = () => language;
export const languageName = (name) => catalogues[name].name;
export const keyboardRows = () => catalogues[language].keys;

// One text with its values. What depends on a number has a form for each plural class.
export function text(part, key, values = {}) {
  const entry = catalogues[language][part][key];
  if (entry === undefined) {
    return "";
  }
  const chosen = typeof entry === "string" ? entry : entry[plural(values.count)] ?? entry.other;
  return fill(chosen, values);
}

const fill = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));

const plural = (count) => new Intl.PluralRules(language).select(count ?? 0);

export const ui = (key, values) => text("ui", key, values);

// The words of a screen: title, text, again, stored. Some have words of their own for a `why`.
export function screenText(screen, key) {
  const words = catalogues[language].screen;
  const entry = (words[`${screen.name}:${screen.why}`] ?? words[screen.name])?.[key] ?? "";
  return fill(entry, screen);
}

export const hasWhy = (why) => catalogues[language].why[why] !== undefined;
