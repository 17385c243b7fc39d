"""policy.yaml as frozen models: what agents may do, what needs a person, in which order, at what cost."""

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from project.spec import BudgetSpec, RateSpec, Spec

Effect = Literal["read", "write", "send", "spend", "execute"]
Ruling = Literal["allow", "ask", "deny"]
Plain = str | int | float | bool


class ArgumentSpec(Spec):
    """What one argument of a call must be. Written as a value or a list of values, it is `one_of`."""

    one_of: list[Plain] | None = None
    """The only values that match."""
    pattern: str | None = None
    """Regular expression that must match the whole text."""
    min: float | None = None
    """Least number."""
    max: float | None = None
    """Largest number."""
    max_length: int | None = Field(default=None, ge=0)
    """Most characters of a text, or entries of a list."""


class ApprovalSpec(Spec):
    """Who answers when a person is asked, and for how long the answer counts."""

    approvers: list[str] = []
    """People who may answer, as `user` or `user@host`. Empty: anyone who can reach the inbox."""
    four_eyes: bool = False
    """True: two different people must approve."""
    expires_hours: float = Field(default=24, gt=0, le=8760)
    """Hours after which a question, and an approval that was not used, no longer counts."""


class RuleSpec(Spec):
    """One rule: when everything it names fits a call, it decides. The first rule that fits is the one that counts."""

    decide: Ruling
    """`allow` the call, `ask` a person, or `deny` it: the agent is told the reason."""
    name: str = ""
    """Its name in traces and questions. Unset: `rule N`."""
    tools: list[str] = []
    """Names of tools, or patterns such as `mail_*`. Empty: every tool."""
    agents: list[str] = []
    """Names of agents, or patterns. Empty: every agent."""
    crews: list[str] = []
    """Names of crews, or patterns. Empty: every crew."""
    effects: list[Effect] = []
    """What the tool does. Empty: whatever it does."""
    arguments: dict[str, ArgumentSpec] = {}
    """Argument → what it must be; all of them must fit, and an argument that is missing never does."""
    paths: list[str] = []
    """Patterns such as `reports/**`, from the run's own folder. To allow, every path among the arguments must fit one;
    to ask or deny, one path is enough."""
    domains: list[str] = []
    """Domains, or patterns such as `*.example.com`. To allow, every address among the arguments must fit one; to ask
    or deny, one address is enough."""
    methods: list[str] = []
    """HTTP methods: the argument `method` must be one of them."""
    hours: str = ""
    """When the rule holds, such as `mon-fri 09:00-17:00`. Empty: always."""
    timezone: str = "UTC"
    """Whose clock counts for `hours`: an IANA name such as `Europe/Berlin`."""
    confidence_below: float | None = Field(default=None, ge=0, le=1)
    """Fits when the least confidence of the outputs that the task builds on is below this, or is not known."""
    tainted: bool | None = None
    """True: fits only after untrusted content was read, and covers such calls; false: fits only before. Unset: fits
    both, but an `allow` does not cover a call that the rule on untrusted content asks about."""
    reason: str = ""
    """Why: the agent reads it when the call is denied, the person when they are asked."""
    approval: ApprovalSpec | None = None
    """Who is asked. Unset: as `approvals:` of this file says."""


class DefaultsSpec(Spec):
    """What is decided by effect when no rule fits."""

    read: Ruling = "allow"
    """Tools that only read."""
    write: Ruling = "allow"
    """Tools that write: allowed inside the run's own folder; a path outside it is asked about."""
    send: Ruling = "ask"
    """Tools that send something out of this machine."""
    spend: Ruling = "ask"
    """Tools that spend money."""
    execute: Ruling = "ask"
    """Tools that run programs."""


class OrderSpec(Spec):
    """In which order, and how often, one tool may be called."""

    tool: str
    """Name of the tool."""
    at_most: int | None = Field(default=None, ge=1)
    """Most calls of it."""
    per: Literal["run", "task"] = "run"
    """Within what calls are counted and looked for."""
    after: list[str] = []
    """Tools each of which must have been called with success before it."""
    before: list[str] = []
    """Tools: once one of them was called, it may not be called any more."""
    never_with: list[str] = []
    """Tools that it may not be called together with, in either order."""
    must_call: bool = False
    """True: an answer is not accepted before the tool was called with success."""
    tasks: list[str] = []
    """Tasks for which the rule holds. Empty: every task whose agent has the tool."""
    reason: str = ""
    """Why: the agent reads it."""


class ToolPolicySpec(Spec):
    """What is known of a tool, beside what its own code declares, and what it is given."""

    effect: Effect | None = None
    """What it does to the world, in place of what its code says."""
    repeat: Literal["safe", "keyed", "once"] | None = None
    """What doing it twice means, in place of what its code says."""
    returns: Literal["trusted", "untrusted"] | None = None
    """What its results are, in place of what its code says."""
    private: bool | None = None
    """Whether its results are private, in place of what its code says."""
    secrets: list[str] = []
    """Environment variables that it alone is given, from the environment or .env."""
    domains: list[str] | None = None
    """Domains, or patterns such as `*.example.com`, that it may connect to. Unset: any, but for `http_get`: none."""
    private_addresses: bool = False
    """True: it may connect to addresses of this machine and the local network."""
    rate: RateSpec | None = None
    """How many of its calls may begin within a time, over all processes."""
    price_usd: Decimal | None = Field(default=None, ge=0)
    """US dollars that one call costs. Unset: nothing."""


class ApprovalsSpec(ApprovalSpec):
    """Who answers when a person is asked, where a rule does not say."""

    notify: list[str] = []
    """Who is told that a call waits for approval: channels of schedules.yaml."""


class CallBudgetSpec(Spec):
    """Ceilings of each single call of a model."""

    max_usd: Decimal | None = Field(default=None, ge=0)
    """US dollars that it may cost at most."""
    max_tokens: int | None = Field(default=None, ge=0)
    """Input and output tokens that it may use at most."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Seconds that it may take."""


class BudgetsSpec(Spec):
    """Ceilings beyond one run; those of a run, task or agent stand beside it."""

    call: CallBudgetSpec = CallBudgetSpec()
    """Each single call of a model."""
    day: BudgetSpec | None = None
    """All runs of the project in one day, UTC."""
    month: BudgetSpec | None = None
    """All runs of the project in one month, UTC."""


class ExampleSpec(Spec):
    """A call written down to try the rules with: `muster policy test` says whether they decide as expected."""

    tool: str
    """The tool that is called."""
    expect: Ruling
    """What must be decided."""
    rule: str = ""
    """Name of the rule that must decide it. Empty: whichever."""
    arguments: dict[str, Any] = {}
    """Arguments of the call."""
    agent: str = ""
    """Who calls. Empty: an agent that no rule names."""
    crew: str = ""
    """In which crew. Empty: one that no rule names."""
    effect: Effect | None = None
    """What the tool does. Unset: what is declared."""
    delegated_by: list[str] = []
    """Agents that passed the work on, the first one first."""
    tainted: bool = False
    """Whether untrusted content was read before."""
    private: bool = False
    """Whether private content was read before."""
    confidence: float | None = Field(default=None, ge=0, le=1)
    """Least confidence of what the task builds on."""
    at: str = ""
    """When, such as `YYYY-MM-DD HH:MM`, in UTC. Empty: a Wednesday at noon."""


class PolicySpec(Spec):
    """What agents may do."""

    rules: list[RuleSpec] = []
    """Rules, the first that fits decides."""
    defaults: DefaultsSpec = DefaultsSpec()
    """What is decided when no rule fits."""
    order: list[OrderSpec] = []
    """Order and number of calls."""
    tools: dict[str, ToolPolicySpec] = {}
    """Tool → what is known of it and what it is given."""
    approvals: ApprovalsSpec = ApprovalsSpec()
    """Who is asked."""
    budgets: BudgetsSpec = BudgetsSpec()
    """Ceilings beyond one run."""
    redact: list[str] = []
    """Regular expressions: what they match is taken out of all that agents, the journal and people get to see."""
    tests: list[ExampleSpec] = []
    """Example calls, for `muster policy test`."""
