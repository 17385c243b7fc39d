"""Pipelines: what is mapped into each crew, from the inputs of the run and the results of the crews before it."""

from collections.abc import Mapping

from project.checks import Findings
from project.crew_texts import inputs_of
from project.errors import Where
from project.fill import dotted_placeholders
from project.hints import listed, quoted, shown, suggest
from project.parts import Parts, stage_node
from project.spec import FieldSpec, InputSpec, StageSpec


def check_stages(name: str, parts: Parts, findings: Findings) -> None:
    """Check every crew of a pipeline: its inputs are there, and mapped from what comes before."""
    crew = parts.crews[name]
    stages = [stage for stage in crew.crews or [] if stage.crew in parts.crews and stage.crew != name]
    kinds: dict[str, tuple[str, InputSpec]] = {}
    for position, stage in enumerate(stages):
        node = stage_node(parts.node("crews.yaml", name, "crews"), stage.crew)
        wanted = inputs_of(stage.crew, parts.crews, parts.tasks, parts.agents, frozenset({name}))
        for key, value in stage.inputs.items():
            place = node.entries["inputs"].entries[key] if "inputs" in node.entries else node
            if key not in wanted:
                fix = suggest(key, list(wanted), f"`{stage.crew}` takes", f"`{stage.crew}` takes no inputs")
                findings.wrong(place.at_key(), f"the crew `{stage.crew}` has no input {quoted(key)}", fix)
            else:
                _check_number(key, value, wanted[key], stage.crew, place.here(), findings)
                _check_text(str(value), name, stages, position, place.here(), parts, findings)
        for key, spec in wanted.items():
            if key not in stage.inputs:
                _check_kind(key, spec, stage.crew, kinds, node.here(), crew.inputs, findings)
    _check_names(name, stages, parts, findings)


def _check_number(
    key: str, value: str | int | float, spec: InputSpec, crew: str, where: Where, findings: Findings
) -> None:
    """Check a value that is written out, where the crew wants a number."""
    if spec.type not in ("integer", "number") or dotted_placeholders(str(value)):
        return
    wanted, fits = ("a whole number", int) if spec.type == "integer" else ("a number", float)
    try:
        fits(str(value))
    except ValueError:
        what = f"the crew `{crew}` takes {wanted} for {quoted(key)}, got {shown(value)}"
        findings.wrong(where, what, f"write {wanted}, or a placeholder such as `{{{key}}}` in quotes")


def _check_text(
    text: str,
    name: str,
    stages: list[StageSpec],
    position: int,
    where: Where,
    parts: Parts,
    findings: Findings,
) -> None:
    crews = [stage.crew for stage in stages]
    earlier = crews[:position]
    for found, fields in dotted_placeholders(text):
        shown = ".".join((found, *fields))
        if found in crews and found not in earlier:
            what = f"`{{{shown}}}` is the result of a crew that has not run yet"
            fix = f"put `{found}` before `{crews[position]}`" if found != crews[position] else "name an earlier crew"
            findings.wrong(where, what, fix)
        elif found in earlier and fields:
            _check_fields(found, fields, where, parts, findings)
        elif fields:
            what = f"`{{{shown}}}`: {quoted(found)} is no crew before `{crews[position]}`, and an input has no fields"
            nothing = f"write `{{{found}}}`"
            findings.wrong(where, what, suggest(found, earlier, "the crews before it are", nothing))


def _check_fields(crew: str, fields: tuple[str, ...], where: Where, parts: Parts, findings: Findings) -> None:
    known = result_fields(crew, parts)
    if known is None:
        what = f"`{{{'.'.join((crew, *fields))}}}`: the result of the crew `{crew}` is one text without fields"
        findings.wrong(where, what, f"write `{{{crew}}}`, or give its last task an `output:`")
        return
    for field in fields:
        if field not in known:
            what = f"the result of the crew `{crew}` has no field {quoted(field)}"
            findings.wrong(where, what, suggest(field, list(known), "its fields are"))
            return
        inner = known[field].fields if known[field].type == "object" else None
        if inner is None:
            rest = fields[fields.index(field) + 1 :]
            if rest:
                what = f"the field {quoted(field)} of the crew `{crew}` has no fields of its own"
                findings.wrong(where, what, f"take `.{'.'.join(rest)}` out")
            return
        known = inner


def result_fields(crew: str, parts: Parts, inside: frozenset[str] = frozenset()) -> Mapping[str, FieldSpec] | None:
    """Return the fields of a crew's result, those of its last task; None where it is one text."""
    spec = parts.crews.get(crew)
    if spec is None or crew in inside or spec.process == "hierarchical":
        return None
    if spec.crews:
        return result_fields(spec.crews[-1].crew, parts, inside | {crew})
    task = parts.tasks.get(spec.tasks[-1]) if spec.tasks else None
    return parts.contract(task) if task is not None and task.for_each is None else None


def _check_kind(
    key: str,
    spec: InputSpec,
    crew: str,
    kinds: dict[str, tuple[str, InputSpec]],
    where: Where,
    declared: Mapping[str, InputSpec],
    findings: Findings,
) -> None:
    """Check that crews which share an input of the pipeline by its name mean the same by it."""
    first, other = kinds.setdefault(key, (crew, spec))
    if other.type != spec.type and key not in declared:
        what = f"the input {quoted(key)} is {_kind(other)} for the crew `{first}` and {_kind(spec)} for `{crew}`"
        fix = f"map one of them under `inputs:`, such as `{{crew: {crew}, inputs: {{{key}: ...}}}}`"
        findings.wrong(where, what, fix)


def _kind(spec: InputSpec) -> str:
    return f"{'an' if spec.type == 'integer' else 'a'} {spec.type}"


def _check_names(name: str, stages: list[StageSpec], parts: Parts, findings: Findings) -> None:
    crews = [stage.crew for stage in stages]
    for key in parts.crews[name].inputs:
        if key in crews:
            where = parts.node("crews.yaml", name, "inputs", key).at_key()
            what = f"{quoted(key)} is a crew of this pipeline, so `{{{key}}}` would mean two things"
            findings.wrong(where, what, f"rename the input; the crews are: {listed(crews)}")
