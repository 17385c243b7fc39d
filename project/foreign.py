"""Keys that Muster does not take as they are: CrewAI's, and Muster's own of later releases; why, and what instead.

Every key of CrewAI 1.15.30 is in `spec.py` or here; a test compares with CrewAI's own models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_UNSET: tuple[Any, ...] = (None, False, "", [], {})


@dataclass(frozen=True)
class Foreign:
    """What becomes of a key that is not Muster's."""

    kind: Literal["ignored", "different", "refused", "later"]
    """`ignored` and `different` load with a note; `refused` and `later` are errors."""
    why: str
    """What people read: the reason, or what happens instead."""
    fix: str = ""
    """What to write instead."""
    harmless: tuple[Any, ...] = _UNSET
    """Values that change nothing and pass without a word."""

    @property
    def allowed(self) -> bool:
        """Whether a project with this key set loads."""
        return self.kind in ("ignored", "different")

    def passes(self, value: Any) -> bool:
        """Say whether `value` changes nothing. 0 is not False here, nor 1 True."""
        return any(type(value) is type(harmless) and value == harmless for harmless in self.harmless)

    def message(self) -> str:
        """Return the line for people."""
        return f"{_OPENINGS[self.kind]}: {self.why}"


_OPENINGS = {"ignored": "ignored", "different": "taken differently", "refused": "refused", "later": "not yet"}
_TAKE_OUT = "take the key out"


def _ignored(why: str, *harmless: Any) -> Foreign:
    return Foreign("ignored", why, harmless=(*_UNSET, *harmless))


def _different(why: str, *harmless: Any) -> Foreign:
    return Foreign("different", why, harmless=(*_UNSET, *harmless))


def _refused(why: str, fix: str = _TAKE_OUT, *harmless: Any) -> Foreign:
    return Foreign("refused", why, fix, (*_UNSET, *harmless))


def _later(why: str, fix: str = _TAKE_OUT, *harmless: Any) -> Foreign:
    return Foreign("later", why, fix, (*_UNSET, *harmless))


_RUNTIME = _refused("CrewAI sets it while it runs", _TAKE_OUT, 0)
_CALLBACK = _refused(
    "YAML names no Python to call back",
    "take the key out; the trace has every step, and `guardrails:` judge a task's output",
)
_CONFIG = _refused("settings inside `config:` would hide mistakes", "write its keys directly under the name")
_SECURITY = _ignored("Muster tells agents apart by their names")
_CHECKPOINT = _ignored("every step of a run is recorded anyway, and `muster runs resume` goes on from there", True)
_VERBOSE = _ignored("Muster shows progress itself; `-v` shows more of it")
_CACHE = _ignored("finished steps are never repeated, other calls are made as asked", True)
_MAX_RPM = _different(
    "calls are spaced out by `rate_limit` of the model; a provider's 429 is waited out and asked again"
)
_FAILED_TOOL = _refused(
    "a failed tool call goes back to the agent as text and stands in the trace",
    "write `warn` or take the key out",
    "warn",
    "ignore",
)
_CONTRACT = _refused(
    "YAML names no Python class", "describe the fields under `output:`, such as `output: {title: str}`"
)
_MEMORY = _later("agents have no memory beyond their run", "take the key out; outputs reach later tasks by `context:`")
_KNOWLEDGE = _later("knowledge bases", "give the agent the tool `search_documents` with a folder")
_PLANNING = _later(
    "agents that plan all their work", "write `refine: true` at a task: its agent plans first, then checks itself"
)
_FILES = _later("pictures and other files as input of a model", "hand texts over by a tool or an input of type `file`")
_TRAINING = _refused("Muster does not train agents on pickled feedback")
_PAGES = "large tool results are cut with a note and read by page"
_NO_CODE = "agents run no code of their own, nor do they in CrewAI 1.15"
_PLATFORM = "it needs CrewAI's hosted platform"
_REASONING_LIMIT = _later("agents that plan all their work", "take the key out")

AGENT_KEYS: Mapping[str, Foreign] = {
    "verbose": _VERBOSE,
    "cache": _CACHE,
    "max_rpm": _MAX_RPM,
    "max_retry_limit": _different("failed calls are asked again by `max_attempts` of the model, never a whole task", 2),
    "respect_context_window": Foreign("different", f"always kept: {_PAGES}", harmless=(None, True)),
    "use_better_compaction": Foreign("different", _PAGES, harmless=(None, True)),
    "max_tokens": _different("no effect on an agent: set `max_tokens` of its model in models.yaml"),
    "function_calling_llm": _different("the agent's own `llm` calls the tools"),
    "tool_failure_policy": _FAILED_TOOL,
    "security_config": _SECURITY,
    "checkpoint": _CHECKPOINT,
    "cache_handler": _refused("YAML names no Python object"),
    "config": _CONFIG,
    "callbacks": _CALLBACK,
    "step_callback": _CALLBACK,
    "allow_code_execution": _refused(_NO_CODE, 'write a tool in tools/ with `effect="execute"`'),
    "code_execution_mode": _refused(_NO_CODE, _TAKE_OUT, "safe"),
    "from_repository": _refused(_PLATFORM, "write `role`, `goal` and `backstory` here"),
    "apps": _refused(_PLATFORM, "write a tool in tools/ for what the app does"),
    "a2a": _refused("agents of other services cannot be called", "write a tool in tools/ that calls the service"),
    "executor_class": _refused("Muster runs the agent's loop itself"),
    "memory": _MEMORY,
    "embedder": _KNOWLEDGE,
    "knowledge": _KNOWLEDGE,
    "knowledge_sources": _KNOWLEDGE,
    "knowledge_config": _KNOWLEDGE,
    "knowledge_storage": _KNOWLEDGE,
    "mcps": _later("tools of MCP servers", "write a tool in tools/ that does what is needed"),
    "skills": _later("skill folders", "put what the agent must know into its `backstory`"),
    "planning": _PLANNING,
    "planning_config": _PLANNING,
    "reasoning": _PLANNING,
    "max_reasoning_attempts": _REASONING_LIMIT,
    "multimodal": _FILES,
    "guardrail": _later("guardrails of agents", "put the guardrail on the agent's tasks"),
    "guardrail_max_retries": _later("guardrails of agents", "set `guardrail_max_retries` on the agent's tasks", 3),
    **dict.fromkeys(
        (
            "id", "entity_type", "agent_executor", "i18n", "crew", "tools_handler", "tools_results", "adapted_agent",
            "execution_context", "checkpoint_kickoff_event_id", "agent_knowledge_context", "crew_knowledge_context",
            "knowledge_search_query",
        ),
        _RUNTIME,
    ),
}  # fmt: skip

TASK_KEYS: Mapping[str, Foreign] = {
    "name": _different("the task is called by its key in this file"),
    "llm": _refused("a task uses the model of its agent", "set `llm` of the agent in agents.yaml"),
    "model": _refused("a task uses the model of its agent", "set `llm` of the agent in agents.yaml"),
    "callback": _CALLBACK,
    "callbacks": _CALLBACK,
    "output_json": _CONTRACT,
    "output_pydantic": _CONTRACT,
    "response_model": _CONTRACT,
    "converter_cls": _refused("outputs are read by the contract", "describe the fields under `output:`"),
    "max_retries": _refused("CrewAI has renamed it", "write `guardrail_max_retries`"),
    "config": _CONFIG,
    "input_files": _FILES,
    "tool_failure_policy": _FAILED_TOOL,
    "allow_crewai_trigger_context": _refused(_PLATFORM, "declare what a trigger would bring as an input of the crew"),
    "security_config": _SECURITY,
    "condition": _refused("YAML names no Python to ask", "write it as `when:`, such as `when: outputs.check.urgent`"),
    **dict.fromkeys(
        (
            "id", "used_tools", "tools_errors", "delegations", "prompt_context", "processed_by_agents", "retry_count",
            "start_time", "end_time", "checkpoint_original_description", "checkpoint_original_expected_output",
        ),
        _RUNTIME,
    ),
}  # fmt: skip

CREW_KEYS: Mapping[str, Foreign] = {
    "name": _different("the crew is called by its key in this file"),
    "verbose": _VERBOSE,
    "cache": _CACHE,
    "max_rpm": _MAX_RPM,
    "tracing": _ignored("nothing is sent to CrewAI; `muster runs trace` tells what a run did", True),
    "share_crew": _ignored("nothing is sent to CrewAI", True),
    "stream": _ignored("Muster shows progress itself", True),
    "output_log_file": _ignored("`muster runs trace` tells what a run did", True),
    "function_calling_llm": _different("each agent's own `llm` calls its tools"),
    "tool_failure_policy": _FAILED_TOOL,
    "security_config": _SECURITY,
    "checkpoint": _CHECKPOINT,
    "config": _CONFIG,
    "step_callback": _CALLBACK,
    "task_callback": _CALLBACK,
    "before_kickoff_callbacks": _CALLBACK,
    "after_kickoff_callbacks": _CALLBACK,
    "prompt_file": _refused("prompts are CrewAI's own", "use `system_template` and `prompt_template` of the agents"),
    "trained_agents_file": _TRAINING,
    "chat_llm": _refused("crews are run, not chatted with"),
    "memory": _MEMORY,
    "embedder": _KNOWLEDGE,
    "knowledge": _KNOWLEDGE,
    "knowledge_sources": _KNOWLEDGE,
    "skills": _later("skill folders", "put what the agents must know into their `backstory`"),
    "planning": _PLANNING,
    "planning_llm": _PLANNING,
    "deliver": _later("delivery of results", "use `output_file` of the last task"),
    **dict.fromkeys(
        (
            "id", "entity_type", "usage_metrics", "token_usage", "task_execution_output_json_files", "execution_logs",
            "execution_context", "checkpoint_inputs", "checkpoint_train", "checkpoint_kickoff_event_id",
        ),
        _RUNTIME,
    ),
}  # fmt: skip

_PARAMETER = "put it under `parameters:`"

MODEL_KEYS: Mapping[str, Foreign] = {
    "api_key": _refused(
        "keys are not written into YAML", "put the key into .env, and its variable's name into `api_key_env`"
    ),
    "api_base": _refused("it has another name here", "write `base_url`"),
    "timeout": _refused("it has another name here", "write `timeout_seconds`"),
    "max_retries": _refused("it has another name here", "write `max_attempts`"),
    "max_completion_tokens": _refused("it has another name here", "write `max_tokens`"),
    "context_window_size": _refused("it has another name here", "write `context_window`"),
    "provider": _refused("the provider stands before the model's name", "write `model: provider/name`"),
    **dict.fromkeys(
        (
            "stop", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "n", "top_k",
            "response_format", "reasoning_effort", "extra_headers", "service_tier",
        ),
        _refused("it is a parameter of some providers only", _PARAMETER),
    ),
    "stream": _ignored("Muster shows progress itself", True),
    "callbacks": _CALLBACK,
    "record": _later("recorded models"),
    "replay": _later("recorded models"),
}  # fmt: skip
