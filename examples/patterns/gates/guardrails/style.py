import re

from muster import guardrail

_SHOUTED = re.compile(r"\b[A-Z]{4,}\b|!{2,}")


@guardrail
def house_style(text: str) -> str:
    """Refuse shouting: words in capitals, and more than one exclamation mark."""
    found = _SHOUTED.findall(text)
    return f"do not shout: {', '.join(found[:5])}" if found else ""
