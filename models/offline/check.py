"""Rule checks of a text: what can be found wrong mechanically, as a table with what to mend. Nothing is approved."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.offline.language import count_words, tokens
from models.offline.page import CHECKS_TITLE, find_draft, is_claim, is_sources, read_page
from models.offline.passages import CITATION, Sentence, key_of, numbered_lines, path_of
from models.offline.rank import LONG_SENTENCE_WORDS
from models.offline.request import Request
from models.offline.sentences import PLACEHOLDER, split
from models.offline.transcript import ToolResult

NOT_JUDGED = (
    "_Offline: rules were checked mechanically; whether the claims are true and the text is good was not judged._"
)
_MOST_FINDINGS = 12
_EXCERPT = 90


@dataclass(frozen=True)
class _Row:
    rule: str
    findings: tuple[str, ...]
    detail: str
    checked: bool = True

    @property
    def result(self) -> str:
        return "not checked" if not self.checked else "FAIL" if self.findings else "pass"


@dataclass(frozen=True)
class _Claim:
    number: int
    line: str
    text: str
    cites: tuple[str, ...]


def check(
    request: Request, context: Mapping[str, str], evidence: Sequence[Sentence], results: Sequence[ToolResult]
) -> str:
    """Check the latest text in `context` against the rules, the evidence and the documents that were read."""
    name, text = draft_of(context)
    if not text.strip():
        return f"# {CHECKS_TITLE}\n\n{NOT_JUDGED}\n\nThere is no text to check: no earlier task handed one over."
    claims = claims_of(text)
    rows = [
        _cited(claims),
        _matching(claims, evidence, _documents(results)),
        _sections(request, text),
        _length(request, text),
        _repeats(claims),
        _placeholders(text),
        _long_sentences(claims),
        _several_sources(claims),
    ]
    table = [f"| {row.rule} | {row.result} | {row.detail} |" for row in rows]
    findings = [finding for row in rows for finding in row.findings]
    more = len(findings) - _MOST_FINDINGS
    listed = findings[:_MOST_FINDINGS] + ([f"{more} more of the same kind"] if more > 0 else [])
    parts = [
        f"# {CHECKS_TITLE}: {read_page(text).title or name}",
        NOT_JUDGED,
        "\n".join(["| Check | Result | Detail |", "|---|---|---|", *table]),
        "## To mend\n" + "\n".join(f"- {finding}" for finding in listed or ["Nothing that a rule can find."]),
    ]
    return "\n\n".join(parts)


def draft_of(context: Mapping[str, str]) -> tuple[str, str]:
    """Return name and text of the output to check: the latest one written for a reader, else the latest."""
    name = find_draft(context) or next(reversed(list(context)), "")
    return name, context.get(name, "")


def claims_of(text: str) -> list[_Claim]:
    """Return the lines that state something, without those of the list of sources."""
    found: list[_Claim] = []
    in_sources = False
    for number, line in enumerate(text.split("\n"), 1):
        heading = re.match(r"\s{0,3}#{1,6}\s+(.+?)\s*$", line)
        if heading:
            in_sources = is_sources(heading[1])
        elif not in_sources and is_claim(line):
            bare = re.sub(r"^\s*(?:[-*•+]|\d+[.)])\s+", "", CITATION.sub("", line)).strip()
            found.append(_Claim(number, line, bare, tuple(CITATION.findall(line))))
    return found


def unread(text: str, evidence: Sequence[Sentence], results: Sequence[ToolResult]) -> list[tuple[str, int]]:
    """Return the places (document, line) cited in `text` that neither `evidence` confirms nor a tool has shown."""
    shown = _documents(results)
    known = {(sentence.cite, sentence.key) for sentence in evidence}
    wanted: dict[tuple[str, int], None] = {}
    for claim in claims_of(text):
        for cite in claim.cites:
            line = re.search(r":(\d+)(?:-\d+)?$", cite)
            if line and (cite, key_of(claim.text)) not in known:
                wanted[(path_of(cite), int(line[1]))] = None
    return [(path, number) for path, number in wanted if number not in shown.get(path, {})]


def _documents(results: Sequence[ToolResult]) -> dict[str, dict[int, str]]:
    """Return the lines that reading tools have shown, document → line → text."""
    found: dict[str, dict[int, str]] = {}
    for result in results:
        path = next((str(v) for k, v in result.arguments.items() if k in ("path", "file", "file_path")), "")
        if path and not result.failed:
            found.setdefault(path, {}).update(numbered_lines(result.text))
    return found


def _cited(claims: Sequence[_Claim]) -> _Row:
    bad = [claim for claim in claims if not claim.cites]
    findings = tuple(f"Line {claim.number} has no citation: {_quote(claim)}" for claim in bad)
    return _Row("Every claim is cited", findings, f"{len(claims) - len(bad)} of {len(claims)} lines", bool(claims))


def _matching(
    claims: Sequence[_Claim], evidence: Sequence[Sentence], documents: Mapping[str, Mapping[int, str]]
) -> _Row:
    said: dict[str, str] = {}
    for sentence in evidence:
        said[sentence.cite] = f"{said.get(sentence.cite, '')} {sentence.key} "
    cited = [claim for claim in claims if claim.cites]
    verdicts = {claim.number: _stands(claim, said, documents) for claim in cited}
    bad = [claim for claim in cited if verdicts[claim.number] is False]
    unknown = sum(verdict is None for verdict in verdicts.values())
    findings = tuple(f"Line {claim.number} is not at [{claim.cites[0]}]: {_quote(claim)}" for claim in bad)
    detail = f"{len(cited) - len(bad) - unknown} of {len(cited)} found word for word" + (
        f", {unknown} could not be read" if unknown else ""
    )
    return _Row("The cited line says it", findings, detail, checked=bool(cited) and unknown < len(cited))


def _stands(claim: _Claim, said: Mapping[str, str], documents: Mapping[str, Mapping[int, str]]) -> bool | None:
    """Say whether a cited place contains the claim; None when no cited place is known."""
    known = False
    wanted = key_of(claim.text)
    for cite in claim.cites:
        line = re.search(r":(\d+)(?:-(\d+))?$", cite)
        shown = documents.get(path_of(cite), {})
        place = said.get(cite, "")
        if line and int(line[1]) in shown:
            # A sentence may be wrapped over the lines that follow the one it starts on.
            first, last = int(line[1]), int(line[2] or line[1]) + 8
            place = " ".join(key_of(shown[number]) for number in range(first, last) if number in shown)
        known = known or bool(place)
        if wanted and wanted in place:
            return True
    return False if known else None


def _sections(request: Request, text: str) -> _Row:
    present = {section.title.strip().lower() for section in read_page(text).sections}
    missing = [name for name in request.sections if name.lower() not in present]
    detail = f"missing: {', '.join(missing)}" if missing else ", ".join(request.sections) or "none asked for"
    return _Row(
        "Sections asked for", tuple(f'Add the section "{name}"' for name in missing), detail, bool(request.sections)
    )


def _length(request: Request, text: str) -> _Row:
    number, most, least = count_words(text), request.most_words, request.least_words
    findings: tuple[str, ...] = ()
    if most and number > most:
        findings = (f"Cut {number - most} words: the limit is {most}",)
    elif least and number < least:
        findings = (f"Add {least - number} words: at least {least} are asked for",)
    limits = [f"at most {most}" if most else "", f"at least {least}" if least else ""]
    return _Row("Length", findings, ", ".join([f"{number} words", *filter(None, limits)]), bool(most or least))


def _repeats(claims: Sequence[_Claim]) -> _Row:
    seen: dict[str, int] = {}
    findings: list[str] = []
    for claim in claims:
        first = seen.setdefault(key_of(claim.text), claim.number)
        if first != claim.number:
            findings.append(f"Line {claim.number} repeats line {first}: {_quote(claim)}")
    return _Row("No repeated sentence", tuple(findings), f"{len(findings)} repeated")


def _placeholders(text: str) -> _Row:
    found = [
        (number, match[0]) for number, line in enumerate(text.split("\n"), 1) for match in PLACEHOLDER.finditer(line)
    ]
    findings = tuple(f"Line {number} has a placeholder: {mark}" for number, mark in found)
    return _Row("No placeholder text", findings, f"{len(found)} found")


def _long_sentences(claims: Sequence[_Claim]) -> _Row:
    bad = [claim for claim in claims if any(len(tokens(part)) > LONG_SENTENCE_WORDS for part in split(claim.text))]
    findings = tuple(
        f"Line {claim.number} is longer than {LONG_SENTENCE_WORDS} words: {_quote(claim)}" for claim in bad
    )
    return _Row(f"Sentences of {LONG_SENTENCE_WORDS} words or fewer", findings, f"{len(bad)} longer")


def _several_sources(claims: Sequence[_Claim]) -> _Row:
    number = len({path_of(cite) for claim in claims for cite in claim.cites})
    return _Row("Sources used", (), f"{number} document{'s' if number != 1 else ''}")


def _quote(claim: _Claim) -> str:
    text = claim.text.replace('"', "'").replace("|", "/")
    return f'"{text[:_EXCERPT].rstrip()}…"' if len(text) > _EXCERPT else f'"{text}"'
