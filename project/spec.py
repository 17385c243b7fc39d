"""The whole YAML language as frozen models. Classic CrewAI keys keep CrewAI's names; ours stand beside them.

What CrewAI knows and Muster reads differently, ignores or refuses is listed in `foreign.py`.
"""

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Recipe = Literal["digest", "outline", "check", "collect", "none"]
FieldType = Literal["str", "int", "float", "bool", "list[str]", "list[int]", "list[float]", "object", "list[object]"]


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ToolUse(Spec):
    """A tool by name, with arguments that YAML fixes; a fixed argument is neither seen nor set by the model."""

    name: str
    """A built-in tool, a `@tool` function of the project, or a class of crewai-tools."""
    settings: dict[str, Any] = {}
    """Argument name → value; `{input}` placeholders are filled. For a class of crewai-tools: its constructor's."""


class FieldSpec(Spec):
    """One field of a contract."""

    type: FieldType = "str"
    """Type of the value."""
    description: str = ""
    """What belongs in the field; the model reads it."""
    optional: bool = False
    """True: may be null or left out."""
    choices: list[str] | None = None
    """The only values allowed, for `str` and `list[str]`."""
    fields: "dict[str, FieldSpec] | None" = None
    """The fields of an `object` or of each entry of a `list[object]`."""
    minimum: float | None = None
    """Least value of a number, least length of a list."""
    maximum: float | None = None
    """Greatest value of a number, greatest length of a list."""


class GuardrailSpec(Spec):
    """One check of a task's output. Exactly one of `rule`, `function`, `text` is set."""

    rule: str | None = None
    """A rule's name, such as `words`; `value` holds its setting."""
    value: Any = None
    """The rule's setting as written in YAML."""
    function: str | None = None
    """A `@guardrail` function of the project."""
    text: str | None = None
    """A demand in plain language, judged by a model."""


class AgentSpec(Spec):
    """One specialist: a role with a model and tools."""

    role: str
    """Who the agent is; opens its system prompt."""
    goal: str
    """What the agent is there to reach."""
    backstory: str
    """How the agent works; the rest of its system prompt."""
    llm: str | None = None
    """A name in models.yaml or `provider/model`. Unset: `default` of models.yaml."""
    tools: list[ToolUse] = []
    """Tools the agent may call in its tasks."""
    max_iter: int = Field(default=25, ge=1, le=500)
    """Model calls in one task before the agent must give its best answer."""
    max_execution_time: int | None = Field(default=None, ge=1)
    """Seconds for one task of this agent; waiting for a person does not count."""
    system_template: str | None = None
    """CrewAI's template of the system part."""
    prompt_template: str | None = None
    """CrewAI's template of the user part."""
    response_template: str | None = None
    """CrewAI's template of the answer part."""
    use_system_prompt: bool = True
    """False: everything goes into the user message, for models without a system role."""
    inject_date: bool = False
    """True: the date on which the run was started is added to the task."""
    date_format: str = "%Y-%m-%d"
    """strftime pattern of that date."""


class TaskSpec(Spec):
    """One piece of work with an expected output."""

    description: str
    """What is to be done; `{input}` placeholders are filled."""
    expected_output: str
    """What a good result looks like; the agent reads it."""
    agent: str
    """Who does it: a name in agents.yaml."""
    context: list[str] | None = None
    """Tasks whose outputs are read. Unset: all earlier tasks of the crew; `[]`: none."""
    tools: list[ToolUse] | None = None
    """Tools in this task, in place of the agent's."""
    async_execution: bool = False
    """True: the tasks after it that do not read its output need not wait for it."""
    human_input: bool = False
    """True: a person sees the output and accepts it or asks for changes."""
    output_file: str | None = None
    """File for the output, inside the project; `{input}` placeholders are filled."""
    create_directory: bool = True
    """False: the folder of `output_file` must be there already."""
    markdown: bool = False
    """True: the agent is told to answer in Markdown."""
    guardrails: list[GuardrailSpec] = []
    """Checks of the output, in order; a failed one goes back to the agent with its reasons."""
    guardrail_max_retries: int = Field(default=3, ge=0, le=20)
    """How often the agent may answer again after a broken contract or a failed guardrail."""
    output: dict[str, FieldSpec] | str | None = None
    """The contract: fields with types, or a name in contracts.yaml. The output is then a JSON object."""
    timeout_seconds: int | None = Field(default=None, ge=1)
    """Seconds for the task; waiting for a person does not count."""
    offline: Recipe | None = None
    """What the offline model does in this task. Unset: it decides by the task's words."""


class InputSpec(Spec):
    """One input of a crew."""

    description: str = ""
    """What to give; shown by `muster plan`."""
    type: Literal["text", "integer", "number", "folder", "file"] = "text"
    """How the value is read. A relative folder or file on the command line is taken from the current folder."""
    default: str | int | float | None = None
    """Used when nothing is given; a relative folder or file is taken from the project. Unset: the input is required."""


class BudgetSpec(Spec):
    """Ceilings of one run. Unset means no ceiling."""

    max_model_calls: int | None = Field(default=None, ge=0)
    """Model calls, each attempt counted."""
    max_tool_calls: int | None = Field(default=None, ge=0)
    """Tool calls."""
    max_tokens: int | None = Field(default=None, ge=0)
    """Input and output tokens of all model calls together."""
    max_usd: Decimal | None = Field(default=None, ge=0)
    """US dollars; a call whose price is unknown is refused under it."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Seconds of work; waiting for a person does not count."""


class CrewSpec(Spec):
    """Agents and tasks with a process."""

    description: str = ""
    """What the crew is for; shown by `muster crews`."""
    process: Literal["sequential"] = "sequential"
    """How the work is walked."""
    agents: list[str] | None = None
    """Agents of the crew. Unset: those its tasks name."""
    tasks: list[str]
    """Tasks in order; the last one's output is the result."""
    inputs: dict[str, InputSpec] = {}
    """Inputs by name. A placeholder that is not listed here is a required text."""
    budget: BudgetSpec = BudgetSpec()
    """Ceilings of a run."""


class PriceSpec(Spec):
    """US dollars per million tokens."""

    input: Decimal = Field(ge=0)
    """Input tokens."""
    output: Decimal = Field(ge=0)
    """Output tokens."""
    cached_input: Decimal | None = Field(default=None, ge=0)
    """Input tokens the provider read from its cache. Unset: as `input`."""


class ModelSpec(Spec):
    """A model by name: which provider answers, how, and what it costs. Keys come from the environment or .env only."""

    model: str
    """`provider/model`, or `offline`, or `auto` (the provider whose key is found, else offline)."""
    base_url: str | None = None
    """Address of an OpenAI-compatible server."""
    api_key_env: str | None = None
    """Environment variable that holds the key. Unset: the provider's usual one."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature. Unset: the provider's default."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling. Unset: the provider's default."""
    seed: int | None = None
    """Seed, for providers that take one."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most output tokens of one answer. Unset: the provider's default."""
    context_window: int | None = Field(default=None, ge=512)
    """Tokens of input and output together. Unset: what CrewAI knows of the model."""
    tool_calling: Literal["native", "json"] = "native"
    """`json`: tools are offered in the prompt and called by a strict JSON answer, for models that call no functions."""
    timeout_seconds: float = Field(default=300, gt=0, le=3600)
    """Seconds after which one attempt is given up."""
    max_attempts: int = Field(default=8, ge=1, le=20)
    """Attempts of one call when the provider answers 429 or 5xx, or does not answer."""
    price: PriceSpec | None = None
    """Price. Unset: from genai-prices; unknown there, it is reported as unknown."""
    parameters: dict[str, Any] = {}
    """Further request parameters, passed to the provider as they are."""
