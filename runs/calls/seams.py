"""The guard: the one way from a task to the world. Decide → journal → the real call, for every model and tool call."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.answer import Answer, ToolCall
from project.spec import ToolUse
from runs.calls.lanes import Lane, Seam
from runs.calls.model_calls import AskModel, ModelCalls
from runs.calls.tool_retries import ToolRetries
from runs.executing.state import RunState
from tools.tool import Tool


class Guard:
    """Makes the calls of one lane of one task durable and governed."""

    def __init__(
        self,
        run: RunState,
        lane: Lane,
        model_name: str,
        ask_model: AskModel,
        tools: Mapping[str, Tool],
        timeout_seconds: float | None,
        *,
        soft: bool = False,
        uses: Sequence[ToolUse] = (),
    ) -> None:
        """`uses` says what is done when a call of one of `tools` fails."""
        self.lane = lane
        self._seam = Seam(run, lane, run.plan.models[model_name], tools, timeout_seconds)
        self._models = ModelCalls(self._seam, model_name, ask_model, soft=soft)
        self._tools = ToolRetries(self._seam, tools, uses)

    @property
    def made_now(self) -> int:
        """Steps made in this execution, not replayed."""
        return self._seam.made_now

    def ask(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Answer:
        """Ask the model. Raises: as `ModelCalls.ask`."""
        return self._models.ask(messages, tools)

    def act(self, call: ToolCall) -> str:
        """Run the tool that the model called. Raises: as `ToolCalls.make`."""
        return self._tools.act(call)

    def journal(self, name: str, body: Callable[[], dict[str, Any]]) -> tuple[bool, dict[str, Any]]:
        """Run `body` as a step of this lane that is neither a model nor a tool call; say whether it was run now."""
        return self._seam.journal(name, body)
