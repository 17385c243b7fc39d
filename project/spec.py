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


class ToolRetrySpec(Spec):
    """How often a failed call of a tool is made again."""

    attempts: int = Field(default=3, ge=2, le=10)
    """Attempts in all, the first one included."""
    backoff_seconds: float = Field(default=1.0, ge=0, le=600)
    """Seconds before the second attempt; the wait doubles from one to the next, up to 60 seconds."""
    on: list[str] = ["timeout", "error"]
    """What is tried again: `timeout`, `error` (any), `empty` (nothing was found), or an exception such as OSError."""


class ToolUse(Spec):
    """A tool by name, with arguments that YAML fixes; a fixed argument is neither seen nor set by the model."""

    name: str
    """A built-in tool, a `@tool` function of the project, or a class of crewai-tools."""
    settings: dict[str, Any] = {}
    """Argument name → value; `{input}` placeholders are filled. For a class of crewai-tools: its constructor's."""
    retry: ToolRetrySpec | None = None
    """Further attempts at a failed call, of a tool that may be repeated."""
    fallback: "list[ToolUse]" = []
    """Tools that are called in its place, in order, with the same arguments, when its attempts are used up."""
    timeout_seconds: float | None = Field(default=None, gt=0, le=86400)
    """Seconds for one call. Unset: what the tool itself declares."""


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


Gate = Literal["fail", "revise", "warn"]


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
    gate: Gate = "revise"
    """What a broken one does: `fail` the task, send it back to be revised, or only `warn`."""


class ForEachSpec(Spec):
    """A task done once for each entry of a list; `{item}` and `{item.field}` stand for the entry in its texts."""

    items: str
    """CEL expression over `inputs`, `outputs` and `state` that gives a list."""
    width: int = Field(default=4, ge=1, le=32)
    """Entries worked at side by side."""
    on_failure: Literal["continue", "fail"] = "continue"
    """`continue`: the others are kept and the result is marked partial; `fail`: the task fails."""


class ReviewSpec(Spec):
    """Review of a task's output by another agent, whose findings go back to the writer."""

    by: str
    """Who reviews: a name in agents.yaml."""
    criteria: list[str] = []
    """What is looked at. Empty: the task's description and expected output."""
    max_rounds: int = Field(default=2, ge=1, le=10)
    """How often the writer may revise; it ends earlier when nothing improves."""
    if_not_approved: Literal["fail", "keep"] = "fail"
    """`keep`: the version with the best score is kept and the result is marked partial."""


class RefineSpec(Spec):
    """One agent that plans, acts, checks its own work and refines it."""

    criteria: list[str] = []
    """What it checks. Empty: the task's description and expected output."""
    max_rounds: int = Field(default=2, ge=1, le=10)
    """How often it may refine; it ends earlier when nothing improves."""


class CandidatesSpec(Spec):
    """Independent proposals for one output; a judge, who does not know whose they are, chooses."""

    count: int = Field(default=3, ge=2, le=8)
    """How many."""
    agents: list[str] = []
    """Who makes them, in turn. Empty: the task's agent makes all."""


class JudgeSpec(Spec):
    """Who chooses among candidates."""

    by: str
    """A name in agents.yaml."""
    criteria: list[str] = []
    """What decides. Empty: the task's description and expected output."""


Failure = Literal["failed", "timeout", "model", "tool", "guardrail", "low_confidence"]
"""Why an attempt at a task was not good enough."""


class RetrySpec(Spec):
    """What happens when the task fails, or its confidence is below `min_confidence`."""

    attempts: int = Field(default=2, ge=1, le=10)
    """Attempts in all, the first one included."""
    agents: list[str] = []
    """Who makes the further attempts, in turn. Empty: the task's agent again."""
    backoff_seconds: float = Field(default=0.0, ge=0, le=3600)
    """Seconds before the second attempt; the wait doubles from one to the next, up to an hour."""
    on: list[Failure] = ["failed", "low_confidence"]
    """What is tried again: every failure (`failed`), or only `timeout`, `model`, `guardrail`, `low_confidence`; `tool`:
    also an output for which a tool failed for good."""


class FallbackSpec(Spec):
    """What is done in place of a task whose attempts are used up. Exactly one of its keys is set."""

    agent: str | None = None
    """Another agent does it: a name in agents.yaml."""
    model: str | None = None
    """The same agent does it with another model: a name in models.yaml or `provider/model`."""
    text: str | dict[str, Any] | None = None
    """A fixed output, marked partial; `{input}` placeholders are filled. With a contract, its fields."""
    act: Literal["skip", "ask", "stop"] | None = None
    """`skip`: go on without an output, marked partial; `ask`: a person gives it; `stop`: the run fails."""


class BudgetSpec(Spec):
    """Ceilings. Unset means no ceiling."""

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
    allow_delegation: bool = False
    """True: it may ask the other agents of its crew to do a part, and goes on with their answer."""
    handoffs: list[str] = []
    """Agents to whom it may hand a task over for good."""
    max_iter: int = Field(default=25, ge=1, le=500)
    """Model calls in one task before the agent must give its best answer."""
    max_execution_time: int | None = Field(default=None, ge=1)
    """Seconds of this agent in one task, all its attempts together; waiting for a person does not count."""
    system_template: str | None = None
    """CrewAI's template of the system part."""
    prompt_template: str | None = None
    """CrewAI's template of the user part."""
    response_template: str | None = None
    """CrewAI's template of the answer part."""
    use_system_prompt: bool = True
    """False: everything goes into the user message, for models without a system role."""
    autonomy: Literal["supervised", "autonomous"] | None = None
    """`supervised`: every call that does more than read is asked about, unless a rule of policy.yaml allows it;
    `autonomous`: the defaults of policy.yaml ask nothing, its rules do. Unset: both do."""
    clearance: Literal["public", "private"] = "private"
    """`public`: it is given no private content, neither by tools nor in outputs of others."""
    budget: BudgetSpec | None = None
    """Ceilings of the agent within one run, in all its tasks together."""
    max_tools: int | None = Field(default=None, ge=2, le=200)
    """Most tools it is offered at once: of more, those that fit the task, and one that finds others. Unset: all."""
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
    agent: str | None = None
    """Who does it: a name in agents.yaml, a crew, or `human`. Only a manager's task may leave it out."""
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
    """Seconds for the whole task, all attempts and pieces together; waiting for a person does not count."""
    offline: Recipe | None = None
    """What the offline model does in this task. Unset: it decides by the task's words."""
    when: str | None = None
    """CEL condition over `inputs`, `outputs` and `state`; false: the task is skipped."""
    for_each: ForEachSpec | None = None
    """Do the task once for each entry of a list; results stay in the list's order."""
    review: ReviewSpec | None = None
    """Another agent reviews the output."""
    refine: RefineSpec | None = None
    """The agent plans first, then checks and refines its own output."""
    candidates: CandidatesSpec | None = None
    """Several independent proposals; needs `judge`."""
    judge: JudgeSpec | None = None
    """Who chooses among the candidates."""
    budget: BudgetSpec | None = None
    """Ceilings of the whole task, all its attempts and pieces together."""
    retry: RetrySpec | None = None
    """Further attempts at the whole task."""
    fallback: list[FallbackSpec] = []
    """What is done in its place, in order, when its attempts are used up: `agent`, `model`, `text`, skip, ask, stop."""
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    """Least confidence, 0 to 1; an output below it counts as failed."""
    check_goal: bool = False
    """True: the output is checked against the crew's goal, so that drift from it is caught here."""
    reads: list[str] = []
    """State of the crew that the task may read; it is shown to its agent."""
    writes: list[str] = []
    """State of the crew that the task sets: fields of its `output` of the same name."""


class InputSpec(Spec):
    """One input of a crew."""

    description: str = ""
    """What to give; shown by `muster plan`."""
    type: Literal["text", "integer", "number", "folder", "file"] = "text"
    """How the value is read. A relative folder or file on the command line is taken from the current folder."""
    default: str | int | float | None = None
    """Used when nothing is given; a relative folder or file is taken from the project. Unset: the input is required."""
    guardrails: list[GuardrailSpec] = []
    """Rules that a text must keep before anything is spent, such as `words: 200`, without a model or evidence."""


class QueueSpec(Spec):
    """How a crew's queued runs wait for a worker. Written as a name, it is the queue."""

    name: str = "default"
    """The queue."""
    max_running: int | None = Field(default=None, ge=1)
    """Most runs of the queue at once, over all workers. Unset: as many as the workers take."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Runs with a higher one are taken first."""


class ManagerSpec(Spec):
    """Who leads a hierarchical crew, and how. Written as a name, it is an agent or a model."""

    agent: str | None = None
    """The manager's role: a name in agents.yaml. Unset: a role of Muster's own."""
    model: str | None = None
    """The manager's model: a name in models.yaml or `provider/model`. Unset: its agent's, else `default`."""
    review_plan: bool = False
    """True: a person sees and may edit the plan before any of it is run."""
    wait_for_person: bool = False
    """True: when nobody is there, its questions and `on_failure: ask` wait in the inbox."""
    max_subtasks: int = Field(default=12, ge=1, le=50)
    """Most subtasks of a plan."""
    max_attempts: int = Field(default=2, ge=1, le=5)
    """Attempts at a subtask, each by another able agent where there is one, before it is planned anew once."""
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    """Least confidence of a subtask's output, 0 to 1; below it the subtask goes to another agent."""
    reviewer: str | None = None
    """Agent that reviews every subtask's output, after the rules."""
    aggregate: Literal["concatenate", "summarize", "rank", "synthesize"] = "synthesize"
    """How the outputs become the result."""
    on_failure: Literal["ask", "partial", "fail"] = "ask"
    """What becomes of a subtask that nobody could do: `ask` a person (with nobody there: partial), partial, or fail."""


class StateSpec(Spec):
    """One named piece of a crew's state."""

    type: FieldType = "str"
    """Type of the value."""
    description: str = ""
    """What it holds; agents that read it see this."""
    merge: Literal["append", "union", "sum", "min", "max"] | None = None
    """How values of tasks side by side become one. Unset: one task at a time may write it; the later one counts."""


class StageSpec(Spec):
    """One crew of a pipeline."""

    crew: str
    """A name in crews.yaml."""
    inputs: dict[str, str | int | float] = {}
    """Inputs of the crew: texts in which `{input}`, `{crew}` and `{crew.field}` are filled. Others by name."""


class CrewSpec(Spec):
    """Agents and tasks with a process, or crews in order."""

    description: str = ""
    """What the crew is for; shown by `muster crews`."""
    goal: str | None = None
    """What the crew is to reach; `{input}` placeholders are filled. A manager plans from it."""
    process: Literal["sequential", "hierarchical"] = "sequential"
    """How the work is walked: in the order of the tasks, or as a manager plans it."""
    agents: list[str] | None = None
    """Agents of the crew, or crews that act as one. Unset: those its tasks name."""
    tasks: list[str] = []
    """Tasks in order; the last one's output is the result. A manager's crew may do with a goal."""
    manager: ManagerSpec | None = None
    """Who leads a hierarchical crew."""
    crews: list[StageSpec] | None = None
    """Crews in order, in place of tasks: a pipeline. The last one's result is the result."""
    state: dict[str, StateSpec] = {}
    """Named state that tasks read and write."""
    inputs: dict[str, InputSpec] = {}
    """Inputs by name. A placeholder that is not listed here is a required text."""
    budget: BudgetSpec = BudgetSpec()
    """Ceilings of a run."""
    deadline_seconds: float | None = Field(default=None, gt=0)
    """Seconds of a run from its first start; waiting for a person does not count. After them only fallbacks that cost
    nothing are taken."""
    queue: QueueSpec = QueueSpec()
    """Where its queued runs wait for a worker."""


class PriceSpec(Spec):
    """US dollars per million tokens."""

    input: Decimal = Field(ge=0)
    """Input tokens."""
    output: Decimal = Field(ge=0)
    """Output tokens."""
    cached_input: Decimal | None = Field(default=None, ge=0)
    """Input tokens the provider read from its cache. Unset: as `input`."""


ModelFailure = Literal["rate_limit", "server", "timeout", "connection", "bad_response"]
"""What may be wrong with a model call and better at the next attempt."""


class RateSpec(Spec):
    """How many calls of a model may begin within how many seconds, over all processes that share the database."""

    calls: int = Field(ge=1)
    """Calls, each attempt counted."""
    seconds: float = Field(default=60.0, gt=0, le=86400)
    """Seconds of the window: within any as long, no more than `calls` begin."""


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
    backoff_seconds: float = Field(default=0.5, ge=0, le=600)
    """Seconds before the second attempt, spread by a quarter; the wait doubles from one to the next. A provider that
    names a time is given it."""
    max_backoff_seconds: float = Field(default=60.0, ge=0, le=3600)
    """Longest wait between two attempts."""
    retry_on: list[ModelFailure] = ["rate_limit", "server", "timeout", "connection", "bad_response"]
    """What is tried again."""
    fallback: list[str] = []
    """Models that are asked in its place, in order, when its attempts are used up or none would help: names in this
    file."""
    rate_limit: RateSpec | None = None
    """How many calls may begin within a time, over all processes. Unset: no limit."""
    price: PriceSpec | None = None
    """Price. Unset: from genai-prices; unknown there, it is reported as unknown."""
    parameters: dict[str, Any] = {}
    """Further request parameters, passed to the provider as they are."""
