"""What Muster leans on in CrewAI: when one of these fails after an upgrade, the place that leans on it is named."""

import contextvars
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runs import quiet
from tests.scripted_server import ScriptedServer


@pytest.fixture(autouse=True)
def _quiet(tmp_path_factory: pytest.TempPathFactory) -> None:
    quiet.prepare(tmp_path_factory.getbasetemp() / "crewai")


@pytest.fixture(autouse=True)
def _as_through_the_guard(_quiet: None) -> Iterator[None]:
    # Where runs.executing.workflow is imported already, its hook aborts every call that does not say so.
    from models import make

    token = make._recorder.set([])
    yield
    make._recorder.reset(token)


def provider(server: ScriptedServer) -> Any:
    from crewai import LLM

    return LLM(
        model="scripted", provider="openai", custom_openai=True, base_url=server.base_url, api_key="k", max_retries=0
    )


USER = [{"role": "user", "content": "@answer: hello"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Look.",
            "parameters": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
        },
    }
]


def test_prompts_give_a_system_and_a_user_part_with_a_place_for_the_input() -> None:
    # agents/build.py, _opening
    from crewai import Agent
    from crewai.utilities.prompts import Prompts

    agent = Agent(role="Worker", goal="Work", backstory="You work.", llm=_mute())
    built: Any = Prompts(
        agent=agent, has_tools=False, use_native_tool_calling=True, use_system_prompt=True
    ).task_execution()
    assert built["system"] == "You are Worker. You work.\nYour personal goal is: Work"
    assert "{input}" in built["user"]
    whole: Any = Prompts(
        agent=agent, has_tools=False, use_native_tool_calling=True, use_system_prompt=False
    ).task_execution()
    assert not whole.get("system")
    assert "{input}" in whole["prompt"]


def _mute() -> Any:
    from crewai.llms.base_llm import BaseLLM

    class Mute(BaseLLM):
        def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
            raise AssertionError("nobody may ask")

    return Mute(model="mute")


def test_a_tasks_prompt_is_its_description_and_what_is_expected() -> None:
    from crewai import Agent, Task

    agent = Agent(role="Worker", goal="Work", backstory="You work.", llm=_mute())
    prompt = Task(description="Do {it}", expected_output="A line.", agent=agent).prompt()
    assert prompt.startswith("Do {it}")
    assert "A line." in prompt


def test_a_task_calls_its_agents_execute_task_and_no_model_of_its_own() -> None:
    # runs/executing/workflow.py, _perform: the loop is put in by overriding Agent.execute_task
    from crewai import Agent, Task

    class Ours(Agent):
        def execute_task(self, task: Any, context: Any = None, tools: Any = None) -> str:
            return f"{task.name} with {context}"

    agent = Ours(role="Worker", goal="Work", backstory="You work.", llm=_mute())
    task = Task(name="it", description="Do", expected_output="A line.", agent=agent)
    assert task.execute_sync(context="this", tools=[]).raw == "it with this"


def test_a_base_exception_goes_through_a_task() -> None:
    # project/errors.py, Stop
    from crewai import Agent, Task

    from project.errors import Stop

    class Ours(Agent):
        def execute_task(self, task: Any, context: Any = None, tools: Any = None) -> str:
            raise Stop("now")

    agent = Ours(role="Worker", goal="Work", backstory="You work.", llm=_mute())
    with pytest.raises(Stop):
        Task(description="Do", expected_output="A line.", agent=agent).execute_sync(tools=[])


def test_a_provider_answers_with_a_text_or_with_a_list_of_calls() -> None:
    # models/make.py, _answer
    with ScriptedServer() as server:
        llm = provider(server)
        assert llm.call(USER) == "hello"
        asked = [{"role": "user", "content": '@call look {"q": "a"}\n@answer: x'}]
        (call,) = llm.call(asked, tools=TOOLS)
        assert (call.function.name, call.function.arguments) == ("look", '{"q": "a"}')


def test_below_the_wrapper_of_call_a_provider_makes_one_attempt() -> None:
    # models/make.py, _call and _harden
    with ScriptedServer(faults=[{"fault": "429-ms"}]) as server:
        llm = provider(server)
        plain = type(llm).call.__wrapped__
        with pytest.raises(Exception, match="Rate limit"):
            plain(llm, USER)
        assert server.stats()["attempts"] == 1


def test_a_provider_keeps_its_client_where_we_harden_it() -> None:
    with ScriptedServer() as server:
        client = provider(server)._client
        assert type(client).__module__.startswith("openai")
        assert client.with_options(max_retries=0, timeout=1.0).max_retries == 0


def test_copies_of_a_provider_share_its_client() -> None:
    # models/make.py, Model.ask. They share the counts of tokens, too, so usage is taken from the completed event.
    with ScriptedServer() as server:
        llm = provider(server)
        copy = llm.model_copy()
        assert copy._client is llm._client
        assert copy.call(USER) == "hello"


def test_what_is_sent_past_the_sdks_look_at_messages_and_tools_is_what_it_would_send() -> None:
    # models/make.py, _unlooked
    from models import make

    with ScriptedServer() as server:
        llm = provider(server)
        llm.call(USER, tools=TOOLS)
        kind = type(llm)
        body = {"_handle_completion": make._unlooked(kind), "__module__": __name__}
        llm.__class__ = type("Unlooked", (kind,), body)
        llm.call(USER, tools=TOOLS)
        before, after = (request.body for request in server.requests)
    assert after == before
    assert after["messages"]
    assert after["tools"]


def test_usage_and_finish_reason_come_with_the_completed_event() -> None:
    # models/make.py, _recording
    seen: list[dict[str, Any]] = []
    with ScriptedServer() as server:
        llm = provider(server)

        class Recording(type(llm)):  # type: ignore[misc]
            def _emit_call_completed_event(self, *args: Any, **kwargs: Any) -> None:
                seen.append(kwargs)

        Recording.__module__ = __name__
        llm.__class__ = Recording
        llm.call(USER)
    (event,) = seen
    assert event["usage"]["completion_tokens"] > 0
    assert event["finish_reason"] == "stop"


def test_a_model_call_that_did_not_come_through_the_guard_is_aborted() -> None:
    # runs/executing/workflow.py, _only_guarded
    import runs.executing.workflow  # noqa: F401  # registers the hook

    with ScriptedServer() as server:
        llm = provider(server)
        with pytest.raises(Exception, match="did not come through Muster's guard"):
            contextvars.Context().run(llm.call, USER)
        assert server.stats()["attempts"] == 0


def test_importing_crewai_left_the_home_folder_alone() -> None:
    home = Path(os.environ["HOME"])
    assert not home.exists() or list(home.iterdir()) == []
