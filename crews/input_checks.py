"""The guardrails of a crew's inputs: what is given is held to them before anything is spent."""

from collections.abc import Collection, Mapping

from project.errors import ConfigErrors, Problem
from project.inputs import Value
from project.spec import InputSpec
from tasks.guardrails import check_rule


def check_inputs(wanted: Mapping[str, InputSpec], values: Mapping[str, Value], unset: Collection[str] = ()) -> None:
    """Hold the inputs to their guardrails; those in `unset` are not given yet, so they are left alone.

    Raises: ConfigErrors (exit 3) with each input that broke one, and why.
    """
    problems: list[Problem] = []
    for name, spec in wanted.items():
        if name in unset:
            continue
        text = str(values.get(name, ""))
        for guardrail in spec.guardrails:
            reasons = check_rule(guardrail.rule or "", guardrail.value, text, _no_source)
            fix = f"give another text by -i {name}=TEXT; `guardrails:` of the input in crews.yaml say what it must be"
            problems += [Problem(f"input `{name}` fails `{guardrail.rule}`: {reason}", None, fix) for reason in reasons]
    if problems:
        raise ConfigErrors(problems)


def _no_source(_citation: str) -> None:
    return None
