// What a screen reader is told without asking: that something ended or began, once.

import { phaseOf } from "./lesson.js";
import { meaning, named, say } from "./words.js";

// Returns the sentence for what changed between two views, nothing where nothing matters.
export function spoken(before, view) {
  if (!before) return "";
  const { job, last } = view;
  const now = phaseOf(view);
  if (now && (now !== phaseOf(before) || view.lesson?.lock !== before.lesson?.lock)) {
    return phase(now, view.lesson);
  }
  if (job && job.name !== before.job?.name) return say(`job.${job.name}`);
  if (before.state !== "none" && view.state === "none" && view.signed) return say("signed");
  if (before.job && !job && last) return ended(last, view);
  const found = view.found.length - before.found.length;
  if (job && found > 0) return say("boards.found_now", { count: view.found.length });
  if (before.by !== view.by && !view.mine && view.state === "open") {
    return say("taken.title", { by: view.by });
  }
  return "";
}

const phase = (now, lesson) => [
  say(`phase.${now}`, { door: lesson?.number }),
  ...(now === "pulsing" ? [] : lesson.findings.map(({ code, evidence }) =>
    meaning(code, evidence).what)),
].join(" ");

function ended({ job, code, evidence }, view) {
  if (code) return meaning(code, evidence).what;
  if (job === "prove" && view.proof) {
    const { doors_passed: passed, doors_failed: failed } = view.proof;
    return say("proof.result", { passed, failed });
  }
  if (job === "scan") return say("boards.found_now", { count: view.found.length });
  return say("job.ended", { job: named("jobname", job) });
}
