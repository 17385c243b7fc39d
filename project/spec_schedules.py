"""schedules.yaml as frozen models: when a crew runs by itself, and who is told how it went."""

from typing import Any, Literal, get_args

from pydantic import Field, create_model

from project.spec import BudgetSpec, Spec

CatchUp = Literal["none", "latest", "all"]
Overlap = Literal["skip", "queue", "allow"]
Happening = Literal["failed", "stopped", "waiting", "missed", "succeeded"]
HAPPENINGS: tuple[Happening, ...] = get_args(Happening)


class RunRetrySpec(Spec):
    """How a failed run of a schedule is tried again."""

    attempts: int = Field(default=2, ge=1, le=10)
    """How often the failed run is resumed: what it has done is kept, what failed is done again."""
    backoff_seconds: float = Field(default=300, ge=0, le=86_400)
    """Seconds before the first time; the wait doubles from one to the next, up to a day."""


class OnFailureSpec(Spec):
    """What is done when a run of a schedule fails."""

    retry: RunRetrySpec | None = None
    """Resume the failed run. Unset: never; a run that stopped at a ceiling is not tried again either."""
    notify: list[str] = []
    """Who is told: channels under `notify:` of this file. `notify_on` says of what."""


class ScheduleSpec(Spec):
    """A crew that runs by itself at certain times, while `muster serve` runs."""

    crew: str
    """A crew or pipeline of crews.yaml."""
    cron: str
    """Five fields, in quotes: minute, hour, day of the month, month, day of the week (0 or 7 is Sunday)."""
    timezone: str = "UTC"
    """Whose clock counts: an IANA name such as `Europe/Berlin`."""
    inputs: dict[str, str | int | float] = {}
    """Inputs of the crew; texts may name the time it is due at: `{date}` `{time}` `{datetime}` `{year}` `{month}`
    `{day}` `{week}` `{yesterday}`, and `{schedule}`. Paths start at the project."""
    model: str | None = None
    """Model for every agent, as `--model` of `muster run`."""
    catch_up: CatchUp = "latest"
    """What is done for firings missed while nothing ran: nothing, one run for the latest, or a run for each."""
    overlap: Overlap | None = None
    """When the run before is unfinished: `skip` this one, `queue` it until that has ended, or `allow` both. Unset:
    `skip`, and `queue` with `catch_up: all`."""
    budget: BudgetSpec | None = None
    """Ceilings of each run, in place of the crew's own."""
    daily_budget: BudgetSpec | None = None
    """Ceilings of all runs of this schedule in one day of its time zone together."""
    priority: int | None = Field(default=None, ge=-1000, le=1000)
    """Among queued runs the highest is taken first. Unset: the crew's."""
    paused: bool = False
    """True: it does not fire."""
    on_failure: OnFailureSpec = OnFailureSpec()
    """What is done when a run fails, and who is told."""
    notify_on: list[Happening] = ["failed", "stopped", "missed", "waiting"]
    """Of what they are told: a run that failed for good or could not start, stopped at a ceiling, waits for a person,
    succeeded; a firing missed."""

    def overlapping(self) -> Overlap:
        """Return what is done when the run before is unfinished."""
        return self.overlap or ("queue" if self.catch_up == "all" else "skip")


class MailSpec(Spec):
    """A mail server and who gets the mail."""

    host: str
    """Name of the mail server."""
    to: list[str]
    """Addresses that get the mail."""
    port: int = Field(default=25, ge=1, le=65_535)
    """Port of the mail server; 465 means TLS from the start."""
    user_env: str | None = None
    """Environment variable that holds the user's name. Unset: nobody logs in."""
    password_env: str | None = None
    """Environment variable that holds the password."""
    starttls: bool = False
    """True: the connection is encrypted before anything is said."""

    @property
    def sender(self) -> str:
        """Who the mail comes from: `from`, which Python does not let be a name."""
        return str(getattr(self, "from"))


_FROM: Any = {"from": (str, Field(description="Address that the mail comes from."))}
SmtpSpec: type[MailSpec] = create_model("SmtpSpec", __base__=MailSpec, __doc__=MailSpec.__doc__, **_FROM)
"""`MailSpec` with `from`."""


class ChannelSpec(Spec):
    """A way to tell people. Exactly one of `command`, `webhook`, `webhook_env` and `smtp` is set."""

    command: list[str] | None = None
    """A program with its arguments, run in the project folder; it reads one JSON document from stdin."""
    webhook: str | None = None
    """Address that gets the JSON document by POST."""
    webhook_env: str | None = None
    """Environment variable that holds such an address: for one that is secret."""
    smtp: MailSpec | None = None
    """A mail, through this server."""
    timeout_seconds: float = Field(default=10, ge=1, le=300)
    """Seconds after which one attempt to tell is given up."""
