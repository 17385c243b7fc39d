"""AgentSpec → a crewai.Agent whose execute_task is our loop. Fresh for every task: runs mutate agents."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from crewai import Agent, Task
from crewai.llms.base_llm import BaseLLM
from crewai.utilities.prompts import Prompts
from pydantic import PrivateAttr

from agents.loop import Act, Ask, Conversation, Source
from models.answer import Answer
from models.marks import NOTICE, is_set_apart
from project.spec import AgentSpec

Judge = Callable[[str], "str | None"]
"""Takes an answer; returns None when it is accepted, else the reasons, to be shown to the model."""


class GuardedLLM(BaseLLM):
    """The only way from an agent to a model: hands every call to the guard that it was made with."""

    llm_type: str = "muster"
    _ask: Ask = PrivateAttr()
    _window: int = PrivateAttr()

    def __init__(self, model: str, ask: Ask, window: int) -> None:
        super().__init__(model=model, provider="muster")
        self._ask = ask
        self._window = window

    def ask(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Answer:
        """Ask the guard for an answer."""
        return self._ask(messages, tools)

    def call(self, messages: Any, tools: Any = None, *args: Any, **kwargs: Any) -> Any:
        asked = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        answer = self._ask(asked, tools or [])
        if not answer.calls:
            return answer.text
        return [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.calls
        ]

    call._crewai_rate_limit_wrapped = True  # type: ignore[attr-defined]  # retries are the guard's

    def supports_function_calling(self) -> bool:
        return True

    def get_context_window_size(self) -> int:
        return self._window

    def get_input_tokens_count(self, messages: Any, tools: Any = None, response_model: Any = None) -> int:
        return len(str(messages)) // 4


class MusterAgent(Agent):
    """A crewai.Agent that works through our loop, with the guard's tools, until its answer is accepted."""

    _act: Act = PrivateAttr()
    _judge: Judge = PrivateAttr()
    _schemas: Sequence[Mapping[str, Any]] = PrivateAttr(default=())
    _kept_back: Sequence[Mapping[str, Any]] = PrivateAttr(default=())
    _protocol: str = PrivateAttr(default="native")
    _max_output_tokens: int = PrivateAttr(default=0)
    _extra: str = PrivateAttr(default="")
    _source: Source | None = PrivateAttr(default=None)
    _stalled: str = PrivateAttr(default="")

    @property
    def stalled(self) -> str:
        """Why the agent was made to answer before it was done; "" when it was not."""
        return self._stalled

    def equip(
        self,
        act: Act,
        judge: Judge,
        schemas: Sequence[Mapping[str, Any]],
        protocol: str,
        max_output_tokens: int,
        extra: str,
        kept_back: Sequence[Mapping[str, Any]] = (),
        source: Source | None = None,
    ) -> None:
        """Give the agent what it works with; not fields of the model, since CrewAI copies and prints those."""
        self._act, self._judge = act, judge
        self._schemas, self._kept_back, self._protocol = schemas, kept_back, protocol
        self._max_output_tokens, self._extra = max_output_tokens, extra
        self._source = source

    def execute_task(self, task: Task, context: str | None = None, tools: Any = None) -> str:
        """Work at `task` until the judge accepts the answer; return it.

        Raises: AgentFailed; what the guard and the judge raise.
        """
        llm = cast(GuardedLLM, self.llm)
        opening = self._opening(task, context)
        told_of_marks = self._source is not None or any(is_set_apart(message["content"]) for message in opening)
        conversation = Conversation(
            messages=opening,
            tools=self._schemas,
            ask=llm.ask,
            act=self._act,
            protocol=self._protocol,
            window=llm.get_context_window_size(),
            max_output_tokens=self._max_output_tokens,
            kept_back=self._kept_back,
            source=self._source or _nowhere,
            notice=NOTICE if told_of_marks else "",
        )
        while True:
            answer = conversation.run(self.max_iter)
            self._stalled = conversation.stalled
            reasons = self._judge(answer)
            if reasons is None:
                return answer
            conversation.refuse(reasons)

    @property
    def last_messages(self) -> list[Any]:
        return []  # the journal has them; CrewAI would keep a second copy with every output

    def _opening(self, task: Task, context: str | None) -> list[dict[str, Any]]:
        prompt = task.prompt()
        if context:
            prompt = f"{prompt}\n\nThis is the context you're working with:\n{context}"
        prompt += self._extra
        built: Any = Prompts(
            agent=self,
            has_tools=bool(self._schemas),
            use_native_tool_calling=True,
            use_system_prompt=bool(self.use_system_prompt),
            system_template=self.system_template,
            prompt_template=self.prompt_template,
            response_template=self.response_template,
        ).task_execution()
        if built.get("system"):
            return [
                {"role": "system", "content": built["system"]},
                {"role": "user", "content": built["user"].replace("{input}", prompt).strip()},
            ]
        return [{"role": "user", "content": built["prompt"].replace("{input}", prompt).strip()}]


def build_agent(
    spec: AgentSpec,
    llm: GuardedLLM,
    *,
    act: Act,
    judge: Judge,
    schemas: Sequence[Mapping[str, Any]],
    protocol: str = "native",
    max_output_tokens: int = 1024,
    extra: str = "",
    kept_back: Sequence[Mapping[str, Any]] = (),
    source: Source | None = None,
) -> MusterAgent:
    """Build the agent of one task. `extra` is added to the end of the task's prompt.

    `schemas` are the tools it is offered, `kept_back` those that it must find first. `source` names where the latest
    tool result comes from, if others may have written it; None where no tool returns such text.
    """
    agent = MusterAgent(
        role=spec.role,
        goal=spec.goal,
        backstory=spec.backstory,
        llm=llm,
        max_iter=spec.max_iter,
        max_retry_limit=0,
        allow_delegation=False,
        verbose=False,
        use_system_prompt=spec.use_system_prompt,
        system_template=spec.system_template,
        prompt_template=spec.prompt_template,
        response_template=spec.response_template,
    )
    agent.equip(act, judge, schemas, protocol, max_output_tokens, extra, kept_back, source)
    return agent


def _nowhere() -> str:
    return ""
