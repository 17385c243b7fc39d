"""A provider whose SDK keeps no deadline: who asks it is freed all the same."""

import threading
import time
from typing import Any

import pytest

from models.answer import ModelError
from project.spec import ModelSpec
from runs import quiet


@pytest.fixture(autouse=True)
def _quiet(tmp_path_factory: pytest.TempPathFactory) -> None:
    quiet.prepare(tmp_path_factory.getbasetemp() / "crewai")


def ask(text: str, seconds: float) -> str:
    from crewai.llms.base_llm import BaseLLM

    from models.make import Model

    class Silent(BaseLLM):
        """A provider of another SDK: it answers when it is let to."""

        def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
            if messages[0]["content"] == "fail":
                raise ValueError("no such thing")
            if messages[0]["content"] == "wait":
                threading.Event().wait(30)
            return "an answer"

    model = Model("default", ModelSpec(model="other/one"), Silent(model="one"), 1000)
    return model.ask([{"role": "user", "content": text}], [], seconds).text


def test_a_provider_that_never_answers_is_left_alone() -> None:
    began = time.monotonic()
    with pytest.raises(ModelError, match=r"no answer within 0\.2 s") as caught:
        ask("wait", 0.2)
    assert time.monotonic() - began < 20
    assert (caught.value.kind, caught.value.retryable) == ("timeout", True)


def test_what_it_answers_or_raises_in_time_is_passed_on() -> None:
    assert ask("say", 5) == "an answer"
    with pytest.raises(ModelError, match="no such thing"):
        ask("fail", 5)
