"""Text as it is, for people who decide by it: what would not be seen, or would look like other text, is spelt out."""

import json
import re
import unicodedata
from typing import Any

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters that show nothing."""
_WORD = re.compile(r"[^\W\d_]+")
_ALPHABETS = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "FULLWIDTH", "MATHEMATICAL")


def visible(text: str) -> str:
    """Return `text` with every character spelt out that hides, moves or imitates others; line breaks stay."""
    return "".join(sign if sign == "\n" or not _is_hidden(sign) else _spelt(sign) for sign in text)


def visible_line(text: str) -> str:
    """Return the same in one line."""
    return visible(text.replace("\r\n", "\n")).replace("\n", "\\n")


def visible_json(value: Any) -> str:
    """Return JSON that reads back as `value`, with every such character spelt out."""
    written = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=True)
    return "".join(sign if sign == "\n" or not _is_hidden(sign) else json.dumps(sign)[1:-1] for sign in written)


def mixed_words(text: str) -> list[str]:
    """Return the words that mix letters of several alphabets, as in a forged name, each once."""
    return list(dict.fromkeys(word for word in _WORD.findall(text) if len(_alphabets(word)) > 1))


def _is_hidden(sign: str) -> bool:
    if sign == " " or (sign.isascii() and sign.isprintable()):
        return False
    kind = unicodedata.category(sign)
    return kind in _HIDDEN or kind == "Zs" or sign in _BLANK or "VARIATION SELECTOR" in unicodedata.name(sign, "")


def _spelt(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _alphabets(word: str) -> set[str]:
    if word.isascii():
        return set()
    names = (unicodedata.name(sign, "").split(" ", 1)[0] for sign in word)
    return {name for name in names if name in _ALPHABETS}
