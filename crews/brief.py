"""The brief: what a crew's goal asks for, what must be true of the result, and what is open; asked, read and told."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import yaml

from crews.answers import ONLY_JSON, Answered, as_json, block, bullets
from project.hints import nearest, quoted, shortened
from project.rules import RULES, Rule
from project.spec import Spec
from tasks.strict_json import find_object

_MOST_QUESTIONS = 3
_MOST_DONE = 20
_LONGEST_SHOWN = 400
_LONGEST_FORBIDDEN = 3
_DEMAND = re.compile(
    r"(?:no|not|never|none|nothing|without|don't|do not|avoid|any|older|newer|anything)\b", re.IGNORECASE
)
_NUMBER = r"(\d{1,3}(?:[,. ]\d{3})+|\d{1,6})"
_CLAUSE = re.compile(r"[.;:!?\n]+(?:\s+|$)|,\s+|\s+\(|\)")
_PARTS = r"(?:sentences?|paragraphs?|sections?|summary|title|headings?|abstract|bullets?|points?|items?)"
_OF_A_PART = re.compile(rf"\b(?:each|every|per|{_PARTS})\b", re.IGNORECASE)
_FOR_A_PART = re.compile(
    rf"\s*(?:long\s+)?(?:each\b|every\b|per\b|(?:in|for|of|to|a)\s+(?:\w+\s+){{0,2}}{_PARTS}\b|{_PARTS}\b)",
    re.IGNORECASE,
)
_BETWEEN = re.compile(rf"\b{_NUMBER}\s*(?:-|–|to|and)\s*{_NUMBER}\s+words\b", re.IGNORECASE)
_BELOW = re.compile(rf"\b(?:fewer than|less than|under|below)\s+{_NUMBER}\s+words\b", re.IGNORECASE)
_MOST = re.compile(
    rf"\b(?:at most|no more than|not more than|up to|max(?:imum)?\.?(?: of)?)\s+{_NUMBER}\s+words\b"
    rf"|\b{_NUMBER}\s+words\s+(?:at most|or less|or fewer|max(?:imum)?)\b",
    re.IGNORECASE,
)
_LEAST = re.compile(
    rf"\b(?:at least|no fewer than|not less than|min(?:imum)?\.?(?: of)?)\s+{_NUMBER}\s+"
    r"(?:words\b|and\s+(?:at most|no more than|not more than|up to)\b)"
    rf"|\b{_NUMBER}\s+words\s+(?:at least|or more|min(?:imum)?)\b",
    re.IGNORECASE,
)
_QUOTE = r"[\"“]([^\"”“\n]{2,60})[\"”]"
_QUOTED_SECTIONS = re.compile(
    rf"\b(?:sections?|headings?)\b(?:\s+(?:titled|called|named|are))?\s*:?\s*({_QUOTE}(?:(?:,|\s+and|,\s+and)\s*{_QUOTE})*)"
    rf"|{_QUOTE}\s+section\b",
    re.IGNORECASE,
)
_NAMED_SECTIONS = re.compile(
    r"\b(?:[Ss]ections|[Hh]eadings)(?:\s+(?:titled|called|named|are))?\s*:?\s+([A-Z][^.;:\n\"“]{2,300})"
)


class DoneRule(Spec):
    """One thing that must be true before work counts as done."""

    id: str
    """Its name within the brief or the subtask."""
    text: str
    """What must be true, for people and models."""
    rule: str | None = None
    """A rule of `project.rules.RULES` that checks it. Unset: a reviewer judges the text."""
    value: Any = None
    """The rule's setting."""


class OpenQuestion(Spec):
    """Something the request leaves open that changes the result."""

    question: str
    """What is asked."""
    why: str
    """What would differ."""
    assumption: str
    """What is taken to be so when nobody answers."""


class Brief(Spec):
    """What is asked for, in the words that everybody in the crew works from."""

    asked: str
    """The result that is wanted."""
    tone: str = ""
    """As asked for; "" where nothing is said."""
    length: str = ""
    """As asked for, in words."""
    format: str = ""
    """As asked for, such as a table."""
    exclusions: list[str] = []
    """What must not be in the result."""
    done: list[DoneRule] = []
    """What must be true of the result; ids are d1, d2 …"""
    questions: list[OpenQuestion] = []
    """What is open, at most three."""
    answers: list[str] = []
    """`question = answer`, or what is assumed."""


def brief_request(
    goal: str,
    description: str,
    inputs: Mapping[str, object],
    given: Sequence[tuple[str, str, str]],
    rules: Mapping[str, Rule] = RULES,
) -> str:
    """Word the prompt that asks a manager for the brief. `given`: name, description, expected output of given tasks."""
    parts = [
        "You are the manager of a crew of agents. Before the work is planned, say exactly what is asked for.",
        block("goal", goal),
    ]
    if description.strip():
        parts.append(block("what the crew is for", description))
    if inputs:
        parts.append("Inputs:\n" + bullets(f"{name}: {shortened(str(value), 2000)}" for name, value in inputs.items()))
    if given:
        tasks = (f"{name}: {_cut(text)} Expected: {_cut(expected)}" for name, text, expected in given)
        parts.append("Tasks that the crew must carry out:\n" + bullets(tasks))
    parts += [_FORM, "Rules that can be checked without a reader:\n" + rules_text(rules)]
    return "\n\n".join(parts)


def read_brief(text: str) -> tuple[Brief | None, list[str]]:
    """Return the brief in a manager's answer, or every reason why it is none.

    Done-rules are numbered d1, d2 …. A length such as "at most 300 words" and excluded words become rules unless the
    manager gave them; an exclusion that is more than a few words becomes a rule for the reviewer.
    """
    value, unread = find_object(text)
    if value is None:
        return None, [f'{reason}; give the brief as {{"asked": "…", …}}' for reason in unread]
    problems: list[str] = []
    answer = Answered(value, "", problems)
    answer.only(_KEYS)
    asked = answer.text("asked", hint="say what result is wanted")
    exclusions, length = answer.texts("exclusions"), answer.text("length", required=False)
    done = read_done(answer, "done")
    questions = [_read_question(entry) for entry in answer.objects("questions")]
    if len(questions) > _MOST_QUESTIONS:
        answer.wrong(f"{len(questions)} questions; keep the {_MOST_QUESTIONS} that change the result most")
    brief = Brief(
        asked=asked,
        tone=answer.text("tone", required=False),
        length=length,
        format=answer.text("format", required=False),
        exclusions=exclusions,
        done=_numbered([*done, *_length_rules(length, done), *_exclusion_rules(exclusions, done)]),
        questions=questions,
    )
    return (None, problems) if problems else (brief, [])


def read_done(answer: Answered, key: str) -> list[DoneRule]:
    """Read done-rules: `{"rule", "value", "text"}`, `{"text"}` or a text; faults go to the answer. Ids are d1, d2 …"""
    read: list[DoneRule] = []
    entries = answer.entries(key)
    for number, entry in enumerate(entries[:_MOST_DONE], 1):
        if isinstance(entry, str) and entry.strip():
            entry = {"text": entry}
        if not isinstance(entry, dict):
            answer.wrong(f'`{key}`, entry {number} must be like {{"text": "…"}} or {{"rule": "…", "value": …}}')
            continue
        fields = cast("dict[str, object]", entry)
        rule = _read_rule(answer.inner(fields, f"`{key}`, entry {number}"))
        if rule is not None:
            read.append(rule)
    if len(entries) > _MOST_DONE:
        answer.wrong(f"`{key}` has {len(entries)} entries; at most {_MOST_DONE} are allowed")
    return _numbered(read)


def offline_brief(goal: str, inputs: Mapping[str, object], given: Sequence[tuple[str, str, str]]) -> Brief:
    """Make the brief without a model: the goal as it stands, and the limits that it and the last given task name.

    Nothing is invented: only word limits for the whole text and sections named in quotes or capitals become rules.
    """
    last = given[-1][1:] if given else ()
    texts = [text.strip() for text in (goal, *last) if text.strip()]
    told = ", ".join(f"{name}: {value}" for name, value in inputs.items())
    said = "\n".join(texts)
    limits, sections = word_limits(said), _sections(said)
    done: list[DoneRule] = []
    if limits:
        done.append(_rule("words", limits))
    if sections:
        done.append(_rule("required_sections", sections))
    length = rule_text("words", limits).removeprefix("words: ") if limits else ""
    return Brief(asked=texts[0] if texts else told or "nothing", length=length, done=_numbered(done))


def settle(brief: Brief, answers: Mapping[str, str]) -> Brief:
    """Return the brief with each question answered, or its assumption in the answer's place. `answers` by question."""
    settled: list[str] = []
    for question in brief.questions:
        answer = answers.get(question.question, "").strip()
        settled.append(f"{question.question} = {answer or question.assumption + ' (assumed, nobody answered)'}")
    return brief.model_copy(update={"answers": settled})


def brief_text(brief: Brief) -> str:
    """Tell the brief, for prompts and people."""
    lines = [f"Asked: {brief.asked}"]
    for name, text in (("Tone", brief.tone), ("Length", brief.length), ("Format", brief.format)):
        lines += [f"{name}: {text}"] if text else []
    if brief.exclusions:
        lines.append(f"Must not be in it: {', '.join(brief.exclusions)}")
    if brief.done:
        lines += ["Done when:", *(f"- {rule.id}: {done_text(rule)}" for rule in brief.done)]
    if brief.answers:
        lines += ["Questions and answers:", *(f"- {answer}" for answer in brief.answers)]
    elif brief.questions:
        asked = (f"- {one.question} ({one.why}) Without an answer: {one.assumption}" for one in brief.questions)
        lines += ["Open questions:", *asked]
    return "\n".join(lines)


def done_text(rule: DoneRule) -> str:
    """Tell one done-rule and who checks it."""
    if rule.rule is None:
        return f"{rule.text} (judged by a reviewer)"
    checked = rule_text(rule.rule, rule.value)
    return f"{rule.text} (checked: {checked})" if rule.text != checked else f"{rule.text} (checked by a rule)"


def rule_text(rule: str, value: object) -> str:
    """Word a rule with its setting: `words: at most 300 words`, `required_sections: Summary, Sources`, `cited`."""
    if rule == "words":
        limits = cast("dict[str, int]", value) if isinstance(value, dict) else {"max": value}
        words = {"min": "at least", "max": "at most"}
        return "words: " + ", ".join(f"{words[key]} {limits[key]}" for key in words if key in limits) + " words"
    if value is True:
        return rule
    if isinstance(value, list):
        return f"{rule}: {', '.join(str(entry) for entry in cast('list[object]', value))}"
    return f"{rule}: {as_json(value)}"


def rules_text(rules: Mapping[str, Rule]) -> str:
    """List the rules for a prompt: what each demands, and an entry as JSON."""
    return bullets(f"{name}: {rule.description} Write {_example(name, rule)}" for name, rule in rules.items())


def word_limits(text: str) -> dict[str, int]:
    """Return `min` and `max` of the words of a whole text, where it says so; limits for a part of it do not count."""
    least, most = [0], [_NO_LIMIT]
    for clause in _CLAUSE.split(text):
        if between := _whole_text(_BETWEEN, clause):
            low, high = sorted(between)
            least, most = [*least, low], [*most, high]
            continue
        most += _whole_text(_MOST, clause)
        most += [max(number - 1, 0) for number in _whole_text(_BELOW, clause)]
        least += _whole_text(_LEAST, clause)
    limits = {"min": max(least), "max": min(most)}
    if limits["min"] > limits["max"]:
        return {}
    return {key: limit for key, limit in limits.items() if limit not in (0, _NO_LIMIT)}


def _whole_text(pattern: re.Pattern[str], clause: str) -> list[int]:
    """Return the numbers in a clause's first match, unless the clause is about a part of the text."""
    found = pattern.search(clause)
    if found is None or _OF_A_PART.search(clause[: found.start()]) or _FOR_A_PART.match(clause[found.end() :]):
        return []
    return [int(re.sub(r"\D", "", number)) for number in found.groups() if number]


_NO_LIMIT = 10**9
_KEYS = ("asked", "tone", "length", "format", "exclusions", "done", "questions")
_EXAMPLE = {
    "asked": "A summary of the museum's opening hours for visitors, from the museum's own pages",
    "tone": "friendly",
    "length": "at most 150 words",
    "format": "Markdown",
    "exclusions": ["ticket prices"],
    "done": [
        {"rule": "words", "value": {"max": 150}, "text": "It has at most 150 words"},
        {"text": "It names the days on which the museum is closed"},
    ],
    "questions": [
        {
            "question": "Which of the two museum buildings is meant?",
            "why": "Their hours differ",
            "assumption": "The main building",
        }
    ],
}
_FORM = f"""{ONLY_JSON}
The form, shown for another goal:
{as_json(_EXAMPLE)}

The keys:
- asked: the result that is wanted, in one or two sentences. Keep every name, number and limit of the goal.
- tone, length, format: what the goal says about them. Write "" where it says nothing.
- exclusions: words and subjects that must not be in the result. [] where there are none.
- done: what must be true of the finished result, so that it can be checked. Where a rule below fits, give "rule" and \
"value"; otherwise "text" alone, which a reviewer judges. Demand only what the goal asks for.
- questions: at most {_MOST_QUESTIONS}, and only where the goal can be read in two ways with different results. \
"assumption" is what you take to be so when nobody answers. [] where the goal is clear."""


def _read_question(entry: Answered) -> OpenQuestion:
    entry.only(("question", "why", "assumption"))
    return OpenQuestion(
        question=entry.text("question"),
        why=entry.text("why", hint="say what would differ in the result"),
        assumption=entry.text("assumption", hint="say what is taken to be so when nobody answers"),
    )


def _read_rule(entry: Answered) -> DoneRule | None:
    entry.only(("id", "text", "rule", "value"))
    text = entry.text("text", required=entry.value.get("rule") is None, hint="say what must be true")
    name = entry.text("rule", required=False)
    if not name:
        return DoneRule(id="", text=text) if text else None
    rule = RULES.get(name)
    if rule is None:
        close = nearest(name, list(RULES))
        fix = f"did you mean `{close}`?" if close else f"the rules are: {', '.join(RULES)}; otherwise give `text` alone"
        entry.wrong(f"unknown rule {quoted(name)}; {fix}")
        return None
    value = entry.value.get("value")
    value = True if value is None and rule.switch else value
    if wrong := rule.check(value):
        entry.wrong(f"rule `{name}` {wrong}; write {_example(name, rule)}")
        return None
    if "\\u0000" in as_json(value):
        entry.wrong("`value` holds the character U+0000; take it out")
    return DoneRule(id="", text=text or rule_text(name, value), rule=name, value=value)


def _rule(name: str, value: object) -> DoneRule:
    return DoneRule(id="", text=rule_text(name, value), rule=name, value=value)


def _numbered(rules: Sequence[DoneRule]) -> list[DoneRule]:
    return [rule.model_copy(update={"id": f"d{number}"}) for number, rule in enumerate(rules, 1)]


def _length_rules(length: str, done: Sequence[DoneRule]) -> list[DoneRule]:
    limits = word_limits(length)
    return [_rule("words", limits)] if limits and all(rule.rule != "words" for rule in done) else []


def _exclusion_rules(exclusions: Sequence[str], done: Sequence[DoneRule]) -> list[DoneRule]:
    """Make rules of exclusions: a few words can be looked for, a whole demand must be judged."""
    held = {str(word).casefold() for rule in done if rule.rule == "forbidden_words" for word in rule.value}
    open_ones = [text for text in exclusions if text.casefold() not in held]
    words = [text for text in open_ones if len(text.split()) <= _LONGEST_FORBIDDEN and not _DEMAND.match(text)]
    rules = [_rule("forbidden_words", words)] if words else []
    judged = (text for text in open_ones if text not in words)
    return [*rules, *(DoneRule(id="", text=f"Kept out of the result: {text}") for text in judged)]


def _sections(text: str) -> list[str]:
    found = [name for match in _QUOTED_SECTIONS.finditer(text) for name in re.findall(_QUOTE, match[0])]
    for match in _NAMED_SECTIONS.finditer(text):
        names = [name.strip() for name in re.split(r",\s*(?:and\s+)?|\s+and\s+", match[1].split(".")[0])]
        if len(names) > 1 and all(name[:1].isupper() and len(name.split()) <= 4 for name in names):
            found += names
    return list(dict.fromkeys(name.strip() for name in found if name.strip()))


def _example(name: str, rule: Rule) -> str:
    value = cast("dict[str, object]", yaml.safe_load(rule.example))[name]
    return as_json({"rule": name, "value": value})


def _cut(text: str) -> str:
    return shortened(" ".join(text.split()), _LONGEST_SHOWN)
