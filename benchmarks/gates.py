"""How many planted defects the rules `supported` and `claimed_calls` catch, and how often they are wrong.

    python -m benchmarks.gates [--seed 1] [--show]

100 documents are made from ten subjects (`gate_texts.py`, `gate_phrases.py`) with what pretend tools returned: 200
defects (50 forged quotes, 50 numbers or dates that no source has, 50 addresses never fetched, 50 tool calls that were
not made) and 200 true claims of the same kinds, and beside them harmless sentences (advice, plans, negations). A defect
counts as caught when a reason stands at its line and shows it; a reason at a line without a forged claim is a false
alarm.

Half of the subjects and phrasings were looked at while the rules were written, the other half is held out: `--show`
prints what went wrong in the first half only. Needs no model and no network. Prints a line of JSON last; exit 1 when
in either half less than 95 % are caught or more than 2 % of the true claims raise an alarm.
"""

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gate_phrases import CALL_FRAMES, HARMLESS, QUOTE_FRAMES, URL_FRAMES  # noqa: E402
from benchmarks.gate_texts import HELD_OUT, SEEN, Subject  # noqa: E402
from tasks.evidence import Evidence  # noqa: E402
from tasks.guardrails import check_rule  # noqa: E402

_PATH = re.compile(r"[\w/]+\.(?:md|csv)\b")
KINDS = ("quote", "number", "url", "call")
LEAST_CAUGHT = 0.95
MOST_ALARMS = 0.02
_FETCHERS = frozenset({"fetch", "get", "http", "open", "page", "scrape", "website", "url", "browse", "download"})


@dataclass(frozen=True)
class Claim:
    """One sentence whose truth is known."""

    kind: str
    text: str
    forged: bool
    mark: str
    """What a reason must show to be about this claim."""
    needs: str = ""
    """Tool that must have been called for it to be true."""


@dataclass(frozen=True)
class Document:
    """A report with its claims, and what its agent had."""

    text: str
    claims: tuple[Claim, ...]
    evidence: tuple[Evidence, ...]
    calls: frozenset[str]


@dataclass
class Score:
    """Figures of one half."""

    planted: Counter[str]
    caught: Counter[str]
    true: Counter[str]
    alarms: Counter[str]
    elsewhere: int = 0
    """Reasons at lines that hold no forged claim, beside those about true claims."""

    def rate(self) -> float:
        """Return the share of the defects that were caught."""
        return self.caught.total() / self.planted.total()

    def alarm_rate(self) -> float:
        """Return the false alarms, those elsewhere included, as a share of the true claims."""
        return (self.alarms.total() + self.elsewhere) / self.true.total()


def main() -> None:
    """Print the figures of both halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="what went wrong in the first half")
    asked = parser.parse_args()
    began = time.perf_counter()
    halves = {"seen": measure(0, asked.seed, show=asked.show), "held out": measure(1, asked.seed)}
    milliseconds = (time.perf_counter() - began) * 10
    summary: dict[str, object] = {}
    for name, score in halves.items():
        for kind in KINDS:
            figures = (
                f"{score.caught[kind]:2} of {score.planted[kind]} caught, {score.alarms[kind]} of {score.true[kind]}"
            )
            print(f"{name:9} {kind:7} {figures} true claims alarmed")
        print(
            f"{name:9} in all  {score.caught.total()} of {score.planted.total()} caught ({score.rate():.1%}); false "
            f"alarms {score.alarms.total()} and {score.elsewhere} elsewhere ({score.alarm_rate():.1%})"
        )
        summary[name] = {"caught": round(score.rate(), 4), "false_alarms": round(score.alarm_rate(), 4)}
    print(json.dumps({**summary, "ms_a_document": round(milliseconds, 2)}))
    passed = all(score.rate() >= LEAST_CAUGHT and score.alarm_rate() <= MOST_ALARMS for score in halves.values())
    sys.exit(0 if passed else 1)


def measure(half: int, seed: int, *, show: bool = False) -> Score:
    """Judge the documents of one half: 0 was seen while the rules were written, 1 was not."""
    score = Score(Counter(), Counter(), Counter(), Counter())
    for document in documents(half, seed):
        reasons = _reasons(document)
        rows = document.text.split("\n")
        about_forged: set[str] = set()
        for claim in document.claims:
            first = claim.text.split("\n")[0]
            labels = {f"line {i + 1}:" for i, row in enumerate(rows) if first in row}
            labels |= {f"line {int(label[5:-1]) + 1}:" for label in labels if "\n" in claim.text}
            about_forged |= labels if claim.forged else set()
            mine = [
                one for one in reasons if f"{one.split(':')[0]}:" in labels and claim.mark.casefold() in one.casefold()
            ]
            reasons = [one for one in reasons if one not in mine]
            (score.planted if claim.forged else score.true)[claim.kind] += 1
            (score.caught if claim.forged else score.alarms)[claim.kind] += bool(mine)
            if show and bool(mine) != claim.forged:
                print("missed:" if claim.forged else "false alarm:", claim.text, mine)
        reasons = [one for one in reasons if f"{one.split(':')[0]}:" not in about_forged]
        score.elsewhere += len(reasons)
        if show and reasons:
            print("elsewhere:", reasons)
    return score


def documents(half: int, seed: int) -> Iterator[Document]:
    """Yield the 50 documents of one half, each with two true and two forged claims."""
    draw = random.Random(f"{half}/{seed}")
    calls = list(CALL_FRAMES[half])
    for s, subject in enumerate((SEEN, HELD_OUT)[half]):
        for variant in range(5):
            for turn in range(2):
                number = 10 * s + 2 * variant + turn
                claims = (
                    _quote(subject, half, number, forged=turn == 0),
                    _number(subject, variant, forged=turn == 1),
                    _url(subject, half, number, forged=turn == 0),
                    _call(subject, calls, number // 2, forged=turn == 1),
                )
                yield _document(subject, claims, HARMLESS[half][number % len(HARMLESS[half])], number, draw)


def _quote(subject: Subject, half: int, number: int, *, forged: bool) -> Claim:
    who, said, invented = subject.quotes[number // 2 % len(subject.quotes)]
    frame = QUOTE_FRAMES[half][(number // 2 + number) % len(QUOTE_FRAMES[half])]
    quote = invented if forged else said
    return Claim("quote", frame.format(who=who, quote=quote), forged, quote[:25])


def _number(subject: Subject, variant: int, *, forged: bool) -> Claim:
    pair = subject.numbers[variant]
    return Claim("number", pair.forged if forged else pair.true, forged, pair.mark if forged else "")


def _url(subject: Subject, half: int, number: int, *, forged: bool) -> Claim:
    url = subject.urls[number // 2 % len(subject.urls)][forged]
    frame = URL_FRAMES[half][number // 2 % len(URL_FRAMES[half])]
    if not url.startswith("http"):
        url = f"https://{url}"
    return Claim("url", frame.format(url=url), forged, url, "fetch_page" if "{url}" in frame else "")


def _call(subject: Subject, frames: Sequence[tuple[str, tuple[str, ...]]], number: int, *, forged: bool) -> Claim:
    """Take the next phrase; a forged one must not be true by a tool that the subject really used."""
    used = _words(tool for tool, _, _ in subject.evidence) | {"fetch"}
    for step in range(len(frames)):
        text, tools = frames[(number + step) % len(frames)]
        wanted = _words(tools)
        if not forged or not (wanted & used or (wanted & _FETCHERS and used & _FETCHERS)):
            return Claim(
                "call",
                text,
                forged,
                "" if not forged else text[:20].split("`")[0],
                "" if forged else tools[number % len(tools)],
            )
    raise ValueError(f"no phrase fits {subject.title}")


def _words(tools: object) -> set[str]:
    return {word for tool in tools for word in tool.split("_")}  # type: ignore[attr-defined]


def _document(subject: Subject, claims: tuple[Claim, ...], harmless: str, number: int, draw: random.Random) -> Document:
    """Lay the sentences out as one of five kinds of report."""
    order = list(claims)
    draw.shuffle(order)
    said = [claim.text for claim in order]
    first, second = subject.body
    listed = "\n".join(f"- {point[0].upper()}{point[1:]}" for point in subject.listed)
    if number % 5 == 0:
        parts = [
            f"# {subject.title}",
            "## Findings",
            first,
            *said[:2],
            "## Details",
            f"{second} {harmless}",
            listed,
            *said[2:],
        ]
    elif number % 5 == 1:
        bullets = "\n".join(f"- {text}" if "\n" not in text else f"\n{text}\n" for text in said)
        parts = [f"**{subject.title}**", f"{first} {second}", bullets, harmless]
    elif number % 5 == 2:
        parts = [first, f"{harmless} {said[0]}" if "\n" not in said[0] else said[0], *said[1:], second]
    elif number % 5 == 3:
        numbered = "\n".join(f"{i + 1}. {point}" for i, point in enumerate(subject.listed))
        parts = [
            f"## 1. {subject.title}",
            *said[:1],
            first,
            "## 2. What matters",
            numbered,
            *said[1:],
            second,
            harmless,
        ]
    else:
        table = "| No. | Point |\n|---|---|\n" + "\n".join(f"| {i + 1} | {p} |" for i, p in enumerate(subject.listed))
        parts = [f"# {subject.title}", second, table, *said, f"> **Note:** {harmless}", first]
    evidence = [Evidence(f"e{i}", tool, text, arguments) for i, (tool, arguments, text) in enumerate(subject.evidence)]
    evidence += [
        Evidence(
            f"c{i}", claim.needs, "done", json.dumps({"path": _PATH.findall(claim.text)})
        )  # a call leaves its traces
        for i, claim in enumerate(claims)
        if claim.kind == "call" and claim.needs
    ]
    calls = {tool for tool, _, _ in subject.evidence} | {claim.needs for claim in claims if claim.needs}
    return Document("\n\n".join(parts), claims, tuple(evidence), frozenset(calls))


def _reasons(document: Document) -> list[str]:
    found: list[str] = []
    for rule in ("supported", "claimed_calls"):
        found += check_rule(
            rule,
            True,
            document.text,
            lambda _: None,
            evidence=document.evidence,
            calls=document.calls,
            tools=document.calls,
        )
    return found


if __name__ == "__main__":
    main()
