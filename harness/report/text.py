"""The verdict for people: a few lines for the terminal, and one screen of Markdown for the run directory."""

from __future__ import annotations

from collections.abc import Iterable

from harness.checkers import TITLES, Diagnosis, Evidence, Judgement, Outcome, Verdict
from harness.report.charts import ZOMBIES, slope_words
from harness.report.known import known_seen
from harness.report.machine import MACHINE, exit_code

ROWS = 20
"""Books of a hop shown at most; verdict.json has them all."""
CLUES = 4
"""Pieces of evidence shown per verdict or diagnosis; verdict.json has them all."""


def text(judgement: Judgement) -> str:
    """Return the verdict as lines for a terminal: outcome, guarantees, cause, recovery, how to run it again."""
    story = judgement.story
    lines = [f"{judgement.outcome:<7}  {story.scenario}   {story.took_s:.1f} s, {story.profile}, seed {story.seed}"]
    lines += [f"  because      {why}" for why in judgement.preconditions]
    lines += [f"  {v.outcome:<7}  {_title(v)}: {v.because}" for v in judgement.verdicts]
    for label, found in (("likely", judgement.diagnosis), ("found", judgement.findings)):
        for d in found:
            lines.append(f"  {label:<11}  {d.incident}: {d.because}")
            lines += [f"    {clue}" for clue in _clues(d.evidence)]
    lines += [f"  known        {known}" for known in known_seen(judgement)]
    clue = first_clue(judgement)
    if clue is not None:
        lines.append(f"  first clue   {_clue(clue)}")
    lines += [f"  {line}" for line in judgement.recovery.lines]
    lines += [f"  [{a.answer}] {a.item}: {a.evidence}" for a in judgement.checklist]
    lines.append(f"  run          {story.run}")
    if story.rerun:
        lines.append(f"  rerun        {story.rerun}")
    return "\n".join(lines) + "\n"


def markdown(judgement: Judgement) -> str:
    """Return report.md: verdict, story with times, first clue, recovery, how to rerun, where the logs are."""
    story = judgement.story
    parts = [f"# {_first_words(judgement)}: {story.scenario}", ""]
    parts += [f"- {why}" for why in judgement.preconditions]
    parts += [f"- known: {known}" for known in known_seen(judgement)]
    parts += _guarantees(judgement)
    parts += _causes("Likely cause", judgement.diagnosis)
    parts += _causes("Seen, nothing broken by it", judgement.findings)
    clue = first_clue(judgement)
    if clue is not None:
        parts += ["", f"First clue: {_clue(clue)}"]
    parts += _slopes(judgement)
    parts += _accounts(judgement)
    if judgement.recovery.lines:
        parts += ["", "## Recovery", "", "```", *judgement.recovery.lines, "```"]
    parts += ["", "## Story", "", "```", *(f"{s.t_s:9.3f} s  {s.text}" for s in story.steps), "```"]
    if judgement.checklist:
        parts += ["", "## Checklist", ""]
        parts += [f"- **{a.answer}** {a.item}: {a.evidence}" for a in judgement.checklist]
    return "\n".join([*parts, *_where(judgement)]) + "\n"


def _accounts(judgement: Judgement) -> list[str]:
    """Return the books of each hop as a table: frames, and what was done to packets on purpose in brackets."""
    if not judgement.accounts:
        return []
    lines = ["", "## Frames, hop by hop"]
    lines += ["Of 20 ms: heard = spoken - not sent - lost + duplicated. In brackets: what a fault on packets did.", ""]
    lines[-2] += " Excused: before steadiness, in the impact of another fault, or our own ear there was away."
    lines += ["| person | hop | spoken | not sent | lost: dropped | excused | unexplained | duplicated | excused |"]
    lines[-1] += " unexplained | reordered | unexplained | corrupted | unexplained | heard |"
    lines.append("|" + "---|" * 15)
    # Of a crowd only those are shown whose books do not balance.
    shown = [a for a in judgement.accounts if not a.exact] if len(judgement.accounts) > ROWS else judgement.accounts
    for a in shown[:ROWS]:
        cells = [
            a.person, a.hop, a.spoken, a.not_sent + a.another_way, f"{a.dropped} ({a.dropped_injected})",
            a.lost_excused, a.lost_unexplained, f"{a.duplicated} ({a.duplicated_injected})", a.duplicates_excused,
            a.duplicates_unexplained, f"{a.reordered} ({a.reordered_injected})", a.reordered_unexplained,
            f"{a.corrupted} ({a.corrupted_injected})", a.corrupted_unexplained, a.heard,
        ]  # fmt: skip
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    left = len(judgement.accounts) - len(shown[:ROWS])
    return [*lines, "", f"{left} more in verdict.json."] if left else lines


def _slopes(judgement: Judgement) -> list[str]:
    if not judgement.slopes:
        return []
    lines = ["", "## Over the cycles", "", f"Chart: [{ZOMBIES}]({ZOMBIES}); slopes with their 99 % intervals:", ""]
    lines += ["| part | quantity | slope | |", "|---|---|---|---|"]
    for s in sorted(judgement.slopes, key=lambda s: (s.ours, s.part)):
        part = f"{s.part} (ours)" if s.ours else s.part
        lines.append(f"| {part} | {s.quantity.replace('_bytes', ', MB')} | {slope_words(s)} | {s.outcome or ''} |")
    return lines


def _first_words(judgement: Judgement) -> str:
    """Return the outcome; an UNKNOWN says at once when it is the machine's or the set-up's (exit 3)."""
    if exit_code(judgement) == MACHINE:
        return f"{judgement.outcome} (machine or set-up)"
    return judgement.outcome.value


def first_clue(judgement: Judgement) -> Evidence | None:
    """Return the earliest log line of the primary diagnosis, else the first evidence of what is broken."""
    for d in judgement.diagnosis[:1]:
        logged = [e for e in d.evidence if e.where.startswith("logs/")]
        if logged:
            return min(logged, key=lambda e: e.t_s)
    broken = [v for v in judgement.verdicts if v.outcome is Outcome.BROKEN and v.evidence]
    return broken[0].evidence[0] if broken else None


def _title(verdict: Verdict) -> str:
    return TITLES.get(verdict.guarantee, verdict.guarantee)


def _clue(evidence: Evidence) -> str:
    return f"{evidence.t_s:.3f} s  {evidence.where}  {evidence.text}"


def _clues(evidence: Iterable[Evidence]) -> list[str]:
    seen = [_clue(e) for e in evidence]
    more = [f"… {len(seen) - CLUES} more in verdict.json"] if len(seen) > CLUES else []
    return [*seen[:CLUES], *more]


def _guarantees(judgement: Judgement) -> list[str]:
    lines = ["", "## Guarantees", ""]
    for v in judgement.verdicts:
        lines.append(f"- **{v.outcome}** {_title(v)}: {v.because}")
        if v.outcome is not Outcome.HOLDS:
            lines += [f"  - `{clue}`" for clue in _clues(v.evidence)]
    return lines


def _causes(heading: str, found: Iterable[Diagnosis]) -> list[str]:
    lines = []
    for d in found:
        lines.append(f"- **{d.incident}**: {d.because}")
        lines += [f"  - `{clue}`" for clue in _clues(d.evidence)]
    return ["", f"## {heading}", "", *lines] if lines else []


def _where(judgement: Judgement) -> list[str]:
    """Say what was tested, how to run it again and where everything lies."""
    story = judgement.story
    lines = ["", "## Run", ""]
    if story.rerun:
        lines.append(f"- rerun: `{story.rerun}`")
    lines.append(f"- run: `{story.run}` (seed {story.seed}, profile {story.profile}, system {story.system})")
    lines.append("- logs: `logs/<component>.log`, events: `events/`, frames: `frames/`, all of it: `verdict.json`")
    for component, facts in story.tested.items():
        lines.append(f"- {component}: " + ", ".join(f"{k} {v}" for k, v in facts.items()))
    times = ", ".join(f"{k.removesuffix('_s')} {v:.2f} s" for k, v in story.timings.items() if v is not None)
    lines.append(f"- time: {times}")
    lines += [f"- note: {note}" for note in story.notes]
    return lines
