"""The offline model: messages, tools and the task in; a tool call or a text out. A pure function of its arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.answer import estimate_tokens
from models.offline import calls, contract
from models.offline.check import check, draft_of, unread
from models.offline.compose import Work, central_documents, collect, digest, doubtful_words, outline
from models.offline.decide import NEEDS_MODEL, choose_recipe, refuse
from models.offline.language import Vocabulary, language_of
from models.offline.page import OFFLINE_NOTE, find_outline, is_beside, is_review, is_summary
from models.offline.passages import Sentence, from_text, from_tools, from_uncited, unique
from models.offline.request import Request, read_request
from models.offline.revise import draft_to_revise, revise
from models.offline.transcript import ToolResult, count_calls, readable, refusals, tool_results

__all__ = [
    "NEEDS_MODEL",
    "OFFLINE_NOTE",
    "OfflineCall",
    "OfflineReply",
    "OfflineTask",
    "estimate_tokens",
    "respond",
]

_WIDER = ("how it works", "limits and mistakes")
_ENOUGH = 3
_READ_WHOLE = 2
_READ_TO_CHECK = 6


@dataclass(frozen=True)
class OfflineTask:
    """The task to answer. `context` maps each task that is read to its output, in order; placeholders are filled."""

    description: str
    expected_output: str
    agent_role: str
    recipe: str | None
    """`digest`, `outline`, `check`, `collect` or `none`; None: decided by the task's words."""
    contract: Mapping[str, Any] | None
    """JSON Schema of the output object; None: the output is text."""
    inputs: Mapping[str, str | int | float]
    context: Mapping[str, str]


@dataclass(frozen=True)
class OfflineCall:
    """One tool call that the offline model asks for."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class OfflineReply:
    """A text, or one tool call; never both."""

    text: str | None
    calls: tuple[OfflineCall, ...] = ()


def respond(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], task: OfflineTask
) -> OfflineReply:
    """Answer chat messages (OpenAI's form) with a tool call or, at the latest after ten of them, with a text.

    Pure: the same arguments give the same bytes in every process. Sentences are selected from tool results and from
    `task.context`, never written; what cannot be answered so opens with `NEEDS_MODEL`. `tools` empty: no more calls.

    Raises: nothing that depends on the texts.
    """
    task = _readable(task)
    results = [result for result in tool_results(messages) if not calls.saves(result.name)]
    offered = calls.read_tools(tools) if count_calls(messages) < calls.MAX_CALLS else []
    recipe = task.recipe or choose_recipe(
        task.description,
        task.expected_output,
        task.agent_role,
        has_material=bool(tools or results or any(task.context.values())),
        otherwise="none" if task.contract is None else "digest",
    )
    # A judgement in fields is still a judgement: what a rule finds fits no contract.
    if recipe == "none" or (recipe == "check" and task.contract is not None):
        return OfflineReply(refuse(task.description))
    request = _request(task, messages)
    work = _work(request, task.context, results)
    call = _next_call(task, recipe, work, offered, results)
    if call is None:
        text = _compose(task, recipe, work, results)
        call = calls.next_save(offered, tool_results(messages), task.description, text)
        if call is None:
            return OfflineReply(text)
    name, arguments = call
    return OfflineReply(None, (OfflineCall(f"offline-{count_calls(messages) + 1}", name, arguments),))


def _readable(task: OfflineTask) -> OfflineTask:
    inputs = {name: readable(value) if isinstance(value, str) else value for name, value in task.inputs.items()}
    context = {readable(name): readable(text) for name, text in task.context.items()}
    return replace(
        task,
        description=readable(task.description),
        expected_output=readable(task.expected_output),
        inputs=inputs,
        context=context,
    )


def _request(task: OfflineTask, messages: Sequence[Mapping[str, Any]]) -> Request:
    words = Vocabulary(language_of(f"{task.description} {task.expected_output}"))
    return read_request(task.description, task.expected_output, task.inputs, refusals(messages), words)


def _work(request: Request, context: Mapping[str, str], results: Sequence[ToolResult]) -> Work:
    """Gather the evidence: an outline's lines first, since they have the headings to use, then the rest, then tools."""
    cited = [
        s
        for name, text in _by_use(context)
        if not is_review(name, text)
        for s in from_text(text)
        if not is_beside(s.heading)
    ]
    searched = from_tools(results)
    evidence = unique([*cited, *searched])
    if not evidence:
        evidence = unique(s for name, text in context.items() if not _is_ours(text) for s in from_uncited(text, name))
    language = language_of(" ".join(s.text for s in evidence[:200]) or request.topic)
    return Work(
        request,
        Vocabulary(language),
        evidence,
        context,
        [" ".join(r.text[:300].split()) for r in results if r.failed],
        bool(searched),
        calls.searched_for(results),
    )


def _beside(draft: str, work: Work, results: Sequence[ToolResult]) -> list[Sentence]:
    """Gather the evidence for a check: everything but the text that is checked, which would confirm itself."""
    others = [text for name, text in work.context.items() if name != draft and not is_review(name, text)]
    return [*(sentence for text in others for sentence in from_text(text)), *from_tools(results)]


def _is_ours(text: str) -> bool:
    """Say whether a text without citations is the offline model's own, and so no source of anything."""
    return "\n_Offline:" in text or text.startswith(NEEDS_MODEL)


def _by_use(context: Mapping[str, str]) -> list[tuple[str, str]]:
    titles = {section.title for section in find_outline(context)}
    outlines = [name for name, text in context.items() if titles and all(f"## {title}" in text for title in titles)]
    return sorted(context.items(), key=lambda entry: entry[0] not in outlines)


def _next_call(
    task: OfflineTask, recipe: str, work: Work, offered: Sequence[calls.Tool], results: Sequence[ToolResult]
) -> tuple[str, dict[str, Any]] | None:
    if not offered:
        return None
    if recipe == "check":
        name, draft = draft_of(work.context)
        return calls.next_read(offered, results, unread(draft, _beside(name, work, results), results)[:_READ_TO_CHECK])
    addresses = [path for path in calls.named_documents(task.description) if "://" in path]
    reading = calls.next_read(offered, results, [(path, 1) for path in addresses])
    if reading:
        return reading
    handed_over = sum(len(from_text(text)) for text in work.context.values())
    if handed_over >= _ENOUGH and recipe != "collect":
        return None
    if calls.searches(offered):
        queries = _queries(task, work.request)
        search = calls.next_search(offered, results, queries)
        if search is None and task.contract is None and work.evidence:
            search = calls.next_search(offered, results, doubtful_words(work))
        return search or calls.next_read(offered, results, [(path, 1) for path in central_documents(work, _READ_WHOLE)])
    listing = calls.next_list(offered, results)
    documents = calls.named_documents(task.description) + calls.listed_documents(results)
    return listing or calls.next_read(offered, results, [(path, 1) for path in dict.fromkeys(documents)][:6])


def _queries(task: OfflineTask, request: Request) -> list[str]:
    if task.contract is not None:
        return contract.queries(task.contract, request.topic)
    if request.is_question:
        return [request.topic]
    aspects = [name for name in request.sections if not is_beside(name) and not is_summary(name)] or list(_WIDER)
    return [request.topic, *(f"{request.topic} {aspect.lower()}" for aspect in aspects[:5])]


def _compose(task: OfflineTask, recipe: str, work: Work, results: Sequence[ToolResult]) -> str:
    if task.contract is not None:
        return contract.fill(work, task.contract, task.inputs)
    if recipe == "collect":
        return collect(work)
    if recipe == "outline":
        return outline(work)
    if recipe == "check":
        return check(work.request, work.context, _beside(draft_of(work.context)[0], work, results), results)
    draft = draft_to_revise(task.description, work.context)
    return revise(work, draft) if draft is not None else digest(work)
