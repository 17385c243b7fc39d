"""The OpenAI SDK's answer types, built before threads share them.

The SDK has Pydantic build a type when it is first used. Two threads that use it first at the same moment can meet one
half built ("type object 'ChatCompletion' has no attribute '__pydantic_core_schema__'"), and a paid answer is lost.
"""

import threading
from collections.abc import Iterator
from typing import Any, get_args

from openai.types.chat import ChatCompletion
from pydantic import BaseModel

_lock = threading.Lock()


def build_answer_types() -> None:
    """Build the types of an answer, those within others too. Costs a tenth of a second once, then nothing."""
    with _lock:
        for kind in _types_within(ChatCompletion, set()):
            if not kind.__pydantic_complete__:
                kind.model_rebuild()


def _types_within(annotation: Any, seen: set[type]) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        for field in annotation.model_fields.values():
            yield from _types_within(field.annotation, seen)
        yield annotation
    for argument in get_args(annotation):
        yield from _types_within(argument, seen)
