"""What a call costs: models.yaml first, then genai-prices; else unknown, never 0."""

from decimal import Decimal
from typing import Literal

from models.answer import Usage
from project.spec import ModelSpec, PriceSpec

_MILLION = Decimal(1_000_000)
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
"""What providers call the most output tokens of an answer."""
PriceSource = Literal["models.yaml", "genai-prices", "offline", "unknown"]


def find_price(spec: ModelSpec) -> tuple[PriceSpec | None, PriceSource]:
    """Return US dollars per million tokens of `spec`'s model and where the price stands; (None, "unknown") if nowhere.

    genai-prices' prices may depend on the date and the size of a call; its base price is taken.
    """
    if spec.price is not None:
        return spec.price, "models.yaml"
    if spec.model == "offline":
        return None, "offline"
    if spec.base_url:  # a server of one's own: the public price of a model of the same name says nothing
        return None, "unknown"
    provider, _, model = spec.model.partition("/")
    per_million = _look_up(provider, model)
    return (per_million, "genai-prices") if per_million is not None else (None, "unknown")


def _look_up(provider: str, model: str) -> PriceSpec | None:
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    names = {"gemini": "google", "claude": "anthropic"}

    def cost(input_tokens: int, output_tokens: int, cached: int = 0) -> Decimal:
        usage = PricedUsage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached or None)
        return calc_price(usage, model_ref=model, provider_id=names.get(provider, provider)).total_price

    try:
        # A thousand tokens: below every provider's threshold for dearer long prompts.
        return PriceSpec(
            input=cost(1000, 0) * 1000, output=cost(0, 1000) * 1000, cached_input=cost(1000, 0, 1000) * 1000
        )
    except LookupError:
        return None


def longest_answer(spec: ModelSpec) -> int | None:
    """Return the most output tokens that models.yaml lets the model answer with; None where it does not say."""
    said = [spec.max_tokens, *(spec.parameters.get(name) for name in _LIMITS)]
    return max((limit for limit in said if isinstance(limit, int)), default=None)


def cost_of(usage: Usage, price: PriceSpec) -> Decimal:
    """Return what a call cost, in US dollars."""
    cached_price = price.cached_input if price.cached_input is not None else price.input
    fresh = max(0, usage.input_tokens - usage.cached_tokens)
    return (fresh * price.input + usage.cached_tokens * cached_price + usage.output_tokens * price.output) / _MILLION
