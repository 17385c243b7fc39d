"""Which model a task uses: `--model`, else the task's agent's `llm`, else `default` in models.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass

from project.errors import AppError
from project.spec import ModelSpec

OFFLINE = "offline"

# In the order in which `auto` looks: variable, the model chosen, the provider's name for people.
_AUTO = (
    ("OPENAI_API_KEY", "openai/gpt-4o-mini", "OpenAI"),
    ("ANTHROPIC_API_KEY", "anthropic/claude-sonnet-4-5", "Anthropic"),
    ("GEMINI_API_KEY", "gemini/gemini-2.5-flash", "Google Gemini"),
    ("GOOGLE_API_KEY", "gemini/gemini-2.5-flash", "Google Gemini"),
    ("OPENROUTER_API_KEY", "openrouter/openai/gpt-4o-mini", "OpenRouter"),
    ("DEEPSEEK_API_KEY", "deepseek/deepseek-chat", "DeepSeek"),
)


@dataclass(frozen=True)
class Choice:
    """The model of a task: its name in models.yaml (or as written), its spec, and why it was chosen."""

    name: str
    spec: ModelSpec
    reason: str

    @property
    def offline(self) -> bool:
        return self.spec.model == OFFLINE


def choose_model(
    option: str | None, llm: str | None, models: Mapping[str, ModelSpec], environ: Mapping[str, str]
) -> Choice:
    """Choose the model for an agent whose `llm` is given; `option` is `--model` and wins.

    Raises: AppError (exit 3) for a name that is neither in models.yaml nor `provider/model` nor `offline`.
    """
    asked, why = next(
        (pair for pair in ((option, "--model"), (llm, "the agent's llm")) if pair[0]),
        ("default", "default in models.yaml"),
    )
    assert asked is not None
    spec = models.get(asked)
    if spec is None:
        if asked == "default":
            spec = ModelSpec(model="auto")
        elif asked in (OFFLINE, "auto") or "/" in asked:
            spec = ModelSpec(model=asked)
        else:
            known = ", ".join([*models, OFFLINE])
            raise AppError(
                f"unknown model {asked!r}",
                fix=f"one of: {known}; or provider/model such as openai/gpt-4o-mini",
                exit_code=3,
            )
    if spec.model == "auto":
        return _auto(asked, spec, environ)
    return Choice(asked, spec, why)


def chain_of(name: str, models: Mapping[str, ModelSpec]) -> list[str]:
    """Name the model and all that stand in for it, each once, in the order in which they are asked."""
    found: dict[str, None] = {}

    def add(one: str) -> None:
        if one not in found and one in models:
            found[one] = None
            for other in models[one].fallback:
                add(other)

    add(name)
    return list(found)


def _auto(name: str, spec: ModelSpec, environ: Mapping[str, str]) -> Choice:
    for variable, model, provider in _AUTO:
        if environ.get(variable, "").strip():
            return Choice(name, spec.model_copy(update={"model": model}), f"{variable} is set: {provider}")
    return Choice(name, spec.model_copy(update={"model": OFFLINE}), "no provider's key is set")
