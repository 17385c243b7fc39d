"""What a tool's function takes: a model of its parameters, the JSON Schema for the agent, and problems in its words."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import ErrorDetails

from project.errors import AppError, Where
from project.hints import suggest

HANDED = ("context", "idempotency_key")
"""Parameters that Muster fills; the model neither sees nor sets them."""

_MAX_SHOWN = 80
_ENTRY = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_SECTION = re.compile(r"[A-Z][A-Za-z ]+:\s*$")


class _Fixed:
    """The type of FIXED."""

    def __repr__(self) -> str:
        return "FIXED"


FIXED = _Fixed()
"""`folder: Annotated[str, FIXED]`: only YAML may set the parameter, never a model."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool's function that the agent or YAML may set."""

    name: str
    type: Any
    """Its annotation, `Annotated` and all."""
    default: Any
    """`...` when it has none."""
    description: str

    @property
    def is_fixed(self) -> bool:
        return get_origin(self.type) is Annotated and any(part is FIXED for part in get_args(self.type)[1:])


def place_of(function: Callable[..., Any]) -> Where:
    """Return where `function` is defined, for messages."""
    code = inspect.unwrap(function).__code__
    return Where(code.co_filename, code.co_firstlineno, 1, function.__name__)


def read_parameters(function: Callable[..., Any], described: Mapping[str, str]) -> tuple[list[Parameter], set[str]]:
    """Return the parameters, and those of HANDED that the function wants.

    Raises: AppError (exit 3) for one that an agent could not be told how to set.
    """
    where = place_of(function)
    try:
        types = get_type_hints(function, include_extras=True)
    except Exception as error:  # annotations are user code: anything may go wrong in them
        raise AppError(f"a type cannot be read: {error}", where=where, fix="import its name", exit_code=3) from error
    parameters: list[Parameter] = []
    handed: set[str] = set()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            what = f"`{parameter}` cannot be filled by name"
            raise AppError(what, where=where, fix="give each parameter a name", exit_code=3)
        if name in HANDED:
            handed.add(name)
            continue
        if name not in types:
            fix = f"write `{name}: str`, or what it is"
            raise AppError(f"parameter `{name}` has no type", where=where, fix=fix, exit_code=3)
        default = ... if parameter.default is parameter.empty else parameter.default
        parameters.append(Parameter(name, types[name], default, described.get(name, "")))
    return parameters, handed


def arguments_model(name: str, parameters: list[Parameter], where: Where) -> type[BaseModel]:
    """Return the model that validates the arguments. Raises: AppError (exit 3) for a type that cannot be validated."""
    # Under names of our own: a parameter may be called `json` or `copy`, which are methods of a model.
    fields: dict[str, Any] = {
        f"argument_{at}": (
            parameter.type,
            Field(parameter.default, alias=parameter.name, description=parameter.description or None)
            if parameter.description
            else Field(parameter.default, alias=parameter.name),
        )
        for at, parameter in enumerate(parameters)
    }
    try:
        model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        model.model_json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError) as error:
        what = f"a parameter's type has no JSON form: {_first_sentence(error)}"
        raise AppError(
            what, where=where, fix="take str, int, float, bool, list, dict or a model", exit_code=3
        ) from error
    return model


def values_of(validated: BaseModel) -> dict[str, Any]:
    """Return the arguments that were given, by the names of the parameters, as the function takes them."""
    fields = type(validated).model_fields
    return {str(fields[name].alias): getattr(validated, name) for name in fields if name in validated.model_fields_set}


def problems_with(arguments: object, model: type[BaseModel], settings: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with an agent's arguments, so that it can mend them; [] when nothing is."""
    if not isinstance(arguments, dict):
        return [f"the arguments must be a JSON object, got {_brief(arguments)}"]
    given = cast(dict[Any, Any], arguments)
    names = [str(field.alias) for field in model.model_fields.values()]
    problems = [_unknown(str(name), names, settings) for name in given if name not in names]
    try:
        validate(model, {name: given[name] for name in names if name in given})
    except ValidationError as error:
        problems += [_worded(detail) for detail in error.errors(include_url=False, include_context=False)]
    except (TypeError, ValueError, RecursionError):
        problems.append("the arguments are not JSON")
    return problems


def validate(model: type[BaseModel], arguments: Mapping[str, Any]) -> BaseModel:
    """Validate as JSON: "3" is taken for an int and a date is read from text, but a number is no text.

    Raises: ValidationError; TypeError, ValueError or RecursionError when the arguments are not JSON.
    """
    return model.model_validate_json(json.dumps(arguments))


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the arguments as a JSON Schema object, without titles and references."""
    schema = model.model_json_schema()
    plain = cast(dict[str, Any], _plain(schema, schema.get("$defs", {}), ()))
    return {"type": "object", "properties": {}, "required": [], **plain, "additionalProperties": False}


def split_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return a docstring without its "Args:" section, and that section's entries by name."""
    kept: list[str] = []
    entries: dict[str, list[str]] = {}
    name, depth, inside = "", 0, False
    for line in inspect.cleandoc(text).splitlines():
        bare, indent = line.strip(), len(line) - len(line.lstrip())
        if indent == 0 and bare:
            inside = bare in ("Args:", "Arguments:", "Parameters:")
            name, depth = "", 0
        if not inside:
            kept.append(line)
        elif bare and indent:
            depth = depth or indent
            entry = _ENTRY.fullmatch(bare) if indent <= depth else None
            if entry:
                name = entry[1]
                entries[name] = [entry[2]]
            elif name:
                entries[name].append(bare)
    described = {name: " ".join(" ".join(lines).split()) for name, lines in entries.items()}
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip(), described


def _unknown(name: str, names: list[str], settings: Mapping[str, Any]) -> str:
    if name in settings:
        return f"`{name}` is set by the project; leave it out"
    return f"unknown argument `{name[:_MAX_SHOWN]}`; {suggest(name, names, 'the tool takes', 'the tool takes none')}"


def _worded(detail: ErrorDetails) -> str:
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    if detail["type"] == "missing":
        return f"`{name}` is missing"
    message = detail["msg"]
    return f"`{name}`: {message[:1].lower()}{message[1:]}, got {_brief(detail['input'])}"


def _brief(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _first_sentence(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _plain(schema: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    """Put each definition where it is referred to (many servers follow no `$ref`), and drop pydantic's titles."""
    if isinstance(schema, list):
        return [_plain(item, definitions, inside) for item in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    found = cast(dict[str, Any], schema)
    if "$ref" in found:
        name = str(found["$ref"]).rpartition("/")[2]
        beside = {key: value for key, value in found.items() if key != "$ref"}
        # A type that holds itself has no end: below its second level anything is said to be allowed, and checked later.
        target: dict[str, Any] = {}
        if name not in inside:
            target = cast(dict[str, Any], _plain(definitions[name], definitions, (*inside, name)))
        return {**target, **cast(dict[str, Any], _plain(beside, definitions, inside))}
    return {
        key: {name: _plain(item, definitions, inside) for name, item in value.items()}
        if key == "properties"
        else value
        if key in ("default", "const", "enum", "examples")
        else _plain(value, definitions, inside)
        for key, value in found.items()
        if key != "$defs" and not (key == "title" and isinstance(value, str))
    }
