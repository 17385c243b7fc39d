"""Secrets: which variables hold them, and how what they say is taken out of texts. Pure; values are never printed."""

import base64
import functools
import html
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote, quote_plus

from project.errors import AppError
from project.spec_policy import PolicySpec

HIDDEN = "[redacted]"
"""Stands where a secret was."""
SHORTEST = 6
"""Characters of the shortest value that is looked for: a shorter one stands in every other word."""
PRIVATE_TOOL_KEY = "MUSTER_JOURNAL_KEY"
"""Variable of the keys that the journal is encrypted with, the first one first, separated by commas."""

_SECRET_PARTS = frozenset(
    re.findall(
        r"\w+",
        "KEY KEYS APIKEY TOKEN SECRET SECRETS PASSWORD PASSWD PASSPHRASE PWD PASS CREDENTIAL CREDENTIALS AUTH "
        "AUTHORIZATION COOKIE DSN BEARER PAT WEBHOOK SIGNATURE SALT ",
    )
)
_NOT_SECRET = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK", "XAUTHORITY", "GPG_KEY"})
_SECRET_NAMES = frozenset({"MUSTER_DATABASE_URL", "DATABASE_URL", "MUSTER_FILES"})
_HARMLESS_ENDS = ("_FILE", "_PATH", "_DIR", "_FOLDER", "_NAME", "_ID", "_TYPE", "_BACKEND", "_ENV", "_SECONDS")
_PATH = re.compile(r"(?:~|\.{1,2})?(?:/[\w.@ -]+)+/?|[A-Za-z]:\\.*")
_ROOTS = frozenset(
    re.findall(
        r"\w+",
        "app bin boot data dev etc home lib media mnt opt private proc root run sbin secrets srv sys tmp usr var work "
        "workspace Applications Library System Users Volumes",
    )
)
"""Folders that absolute paths begin with."""
_KINDS = ("[0-9]", "[a-z]", "[A-Z]")
_TRIVIAL = re.compile(r"[a-z]{1,9}|[A-Z]?[a-z]{1,9}|[0-9]{1,7}|[0-9]{1,4}\.[0-9]{1,4}", re.ASCII)
_LEAST_LINE = 16
_LEAST_ENCODED = 10
_KEPT_IN_URLS = ("", "/", "!$&'()*+,;=", "!$&'()*+,/:;=?@", "!#$%&'()*+,/:;=?@[]~")
"""Signs that are not quoted: nowhere, in a path, by those who keep to the standard, by `requests`."""
_PERCENT = re.compile(r"%[0-9A-F]{2}")

_SHAPES = (
    (
        "PRIVATE KEY",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
        r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
    ("eyJ", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    ("sk-", r"(?<![A-Za-z0-9])sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{16,}"),
    ("k_ whsec_", r"(?<![A-Za-z0-9])(?:sk|rk|pk|whsec)_(?:live_|test_)?(?=[A-Za-z]*[0-9])[A-Za-z0-9]{16,}"),
    ("AIza", r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{30,}"),
    (
        "gsk_ xai- hf_ r8_ pplx- npm_ dop_v1_ shpat_",
        r"(?<![A-Za-z0-9])(?:gsk_|xai-|hf_|r8_|pplx-|npm_|dop_v1_|shpat_)(?=[A-Za-z]*[0-9])[A-Za-z0-9]{20,}",
    ),
    ("tvly-", r"(?<![A-Za-z0-9])tvly-(?=[A-Za-z-]*[0-9])[A-Za-z0-9-]{16,}"),
    ("AKIA ASIA", r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    ("gho_ ghp_ ghs_ ghu_ ghr_", r"(?<![A-Za-z0-9])gh[opsur]_[A-Za-z0-9]{30,}"),
    ("github_pat_ glpat-", r"(?<![A-Za-z0-9])(?:github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{16,})"),
    ("xox", r"(?<![A-Za-z0-9])xox[abeprs]-[A-Za-z0-9-]{16,}"),
    ("SG.", r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
)
"""Shapes of secrets: what stands in each of them, and the whole."""
_SHAPED = tuple(
    (tuple(hints.split(" ")) if hints != "PRIVATE KEY" else (hints,), re.compile(shape)) for hints, shape in _SHAPES
)
_QUOTES = r"(?:\\{0,3}[\"'])?"
_NAMED = tuple(
    (tuple(hints.split()), re.compile(f"(?P<lead>{lead}){secret}"))
    for hints, lead, secret in (
        ("bearer", r"\b(?i:Bearer)[ ]+", r"(?=[A-Za-z._~+/-]*[0-9])[A-Za-z0-9._~+/-]{12,}=*"),
        (
            "authorization",
            rf"(?i:\bauthorization){_QUOTES}\s{{0,3}}[=:]\s{{0,3}}{_QUOTES}(?i:Basic|Token|ApiKey)[ ]+",
            r"[A-Za-z0-9+/=_.-]{8,}",
        ),
        (
            "access",
            rf"(?i:secret_?access_?key){_QUOTES}\s{{0,3}}[=:]\s{{0,3}}{_QUOTES}",
            r"[A-Za-z0-9/+]{30,}=*",
        ),
        (
            "password passwd passphrase pwd secret token key",
            r"(?i:(?:password|passwd|passphrase|pwd(?!=/)|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|"
            rf"private[_-]?key)){_QUOTES}\s?[=:]\s{{0,3}}{_QUOTES}",
            r"(?=[^\s\"'&,;<>]*[0-9])(?!\[redacted\])[^\s\x00-\x1f\"'&,;<>()\[\]{}\\]{6,}",
        ),
        ("://", r"://[^\s/:@\"']{0,60}:", r"[^\s/@\"']{3,}(?=@)"),
    )
)
"""What stands before the secret stays: it says what was there."""
_PAGE = re.compile(r"(?i)(?:next|page|continuation|sync|cursor|resume|sort)[_-]?token")
_KEYS = re.compile("key|passw|passphrase|pwd|secret|token")
_ENTRIES, _ITEMS = (dict, Mapping), (list, tuple)
_LONGEST_QUOTES = 6
"""Characters between such a word and what follows its `=` or `:`, that sign included."""
_FEW = 400
"""So many forms of values are looked for one by one; a regular expression of them all is slower then."""


class Redactor:
    """Takes secrets out of texts: those whose values are known, in every form they are written in, and their shapes."""

    def __init__(self, values: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        """`patterns` are regular expressions beside the built-in ones. Raises: AppError for one that is none."""
        self._forms = tuple({form for value in values for form in _forms(value)})
        self._values = re.compile(_trie(self._forms)) if self._forms else None
        self._digits = any(form.isdigit() for form in self._forms)
        self._patterns = [_compiled(pattern) for pattern in patterns]

    def text(self, text: str) -> str:
        """Return the text without secrets; the very same text where there are none."""
        made = self.known(text)
        for pattern in self._patterns:
            made = pattern.sub(_hide_all, made)
        made = without_shapes(made)
        return text if made == text else made

    def known(self, text: str) -> str:
        """Return the text without the secrets whose values are known."""
        if self._values is None or len(text) < SHORTEST:
            return text
        if len(self._forms) <= _FEW and not any(form in text for form in self._forms):
            return text
        return self._values.sub(HIDDEN, text)

    def value(self, value: Any) -> Any:
        """Return a JSON value without secrets, in its keys, too; the very same value where there are none."""
        texts: list[str] = []
        plain = not self._patterns and not self._digits and _collect(value, texts)
        # Nearly all values hold none: one look at all their texts is a tenth of one at each.
        if plain and self.text(whole := "\n".join(texts)) is whole:
            return value
        return self._value(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self._mapping(cast(Mapping[str, Any], value))
        if isinstance(value, list | tuple):
            old = cast(Sequence[Any], value)
            items = [self._value(item) for item in old]
            return old if all(new is item for new, item in zip(items, old, strict=True)) else items
        if self._digits and isinstance(value, int | float) and not isinstance(value, bool):
            return value if self.known(repr(value)) == repr(value) else HIDDEN
        return value

    def _mapping(self, value: Mapping[str, Any]) -> Any:
        made = {self.text(key): self._entry(key, item) for key, item in value.items()}
        same = len(made) == len(value) and all(made.get(key, self) is item for key, item in value.items())
        return value if same else made

    def _entry(self, key: str, item: Any) -> Any:
        if isinstance(item, str) and _says_secret(key):
            told = f"{key}={item}"
            if without_shapes(told) != told and without_shapes(item) == item:
                return HIDDEN
        return self._value(item)


def _collect(value: Any, texts: list[str]) -> bool:
    """Gather the texts of a value; False where a key says that its text is a secret."""
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, _ENTRIES):
        for key, item in cast(Mapping[str, Any], value).items():
            texts.append(key)
            if isinstance(item, str):
                if _says_secret(key):
                    return False
                texts.append(item)
            elif not _collect(item, texts):
                return False
    elif isinstance(value, _ITEMS):
        for item in cast(Sequence[Any], value):
            if not _collect(item, texts):
                return False
    return True


def _says_secret(key: str) -> bool:
    return _KEYS.search(key.lower()) is not None


def without_shapes(text: str) -> str:
    """Return the text without what looks like a secret; the very same text where nothing does."""
    whole = text
    for hints, pattern in _SHAPED:
        if any(hint in text for hint in hints):
            text = pattern.sub(HIDDEN, text)
    lower = text.lower()
    for hints, pattern in _NAMED:
        if any(hint in lower for hint in hints) and (len(hints) == 1 or _assigns(lower, hints)):
            text = pattern.sub(_keep_lead, text)
    return whole if text == whole else text


def _assigns(lower: str, words: Sequence[str]) -> bool:
    """Say whether `=` or `:` follows one of the words: the expression that looks further takes its time."""
    for word in words:
        at = lower.find(word)
        while at >= 0:
            after = lower[at + len(word) : at + len(word) + _LONGEST_QUOTES]
            if "=" in after or ":" in after:
                return True
            at = lower.find(word, at + 1)
    return False


@functools.lru_cache(1000)
def is_secret_name(name: str) -> bool:
    """Say whether a variable is called as one that holds a secret."""
    upper = name.upper()
    if upper in _SECRET_NAMES or (upper.startswith("MUSTER_") and upper.endswith("KEY")):
        return True
    if upper in _NOT_SECRET or upper.endswith(_HARMLESS_ENDS):
        return False
    parts = re.split(r"[^A-Z0-9]+", upper)
    return any(part in _SECRET_PARTS or part.rstrip("0123456789") in _SECRET_PARTS for part in parts)


def secret_values(environment: Mapping[str, str], named: Collection[str] = ()) -> list[str]:
    """Return the values that are secrets: of the variables that are `named`, and of those called so.

    Of the latter, a value that is a plain word, a small number or a path is none.
    """
    found = [environment.get(name, "") for name in sorted(named)]
    for name, value in environment.items():
        if name not in named and is_secret_name(name) and not _TRIVIAL.fullmatch(value) and not _is_path(value):
            found += [value, *_split_keys(name, value), *_passwords(value)]
    return [value for value in dict.fromkeys(found) if len(value.strip()) >= SHORTEST]


def _is_path(value: str) -> bool:
    """Say whether a value is a path, and no key that happens to begin with `/` and to hold no other such sign."""
    first = value[1:].partition("/")[0]
    drawn = value.startswith("/") and first not in _ROOTS and all(re.search(kind, value) for kind in _KINDS)
    return _PATH.fullmatch(value) is not None and not drawn


def host_environment(environ: Mapping[str, str], hidden: Collection[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a project's function: without secrets, but with what it is `given`."""
    kept = {name: value for name, value in environ.items() if name not in hidden and not is_secret_name(name)}
    return {**kept, **given}


def declared_secrets(policy: PolicySpec | None) -> dict[str, list[str]]:
    """Return the variables that each tool is given, by the tool's name."""
    if policy is None:
        return {}
    return {name: list(spec.secrets) for name, spec in policy.tools.items() if spec.secrets}


def check_secrets_set(policy: PolicySpec | None, tools: Collection[str], environment: Mapping[str, str]) -> None:
    """See that each of these tools has the secrets that it is to be given. Raises: AppError (exit 3)."""
    for tool, names in declared_secrets(policy).items():
        for name in names if tool in tools else ():
            if not environment.get(name, "").strip():
                what = f"the tool `{tool}` is given the secret `{name}`, which is not set"
                raise AppError(what, fix=f"write {name}=... into .env, or set it in the environment", exit_code=3)


def make_redactor(
    environment: Mapping[str, str], policy: PolicySpec | None = None, named: Collection[str] = ()
) -> Redactor:
    """Return what takes out the secrets of an environment and of a policy; `named` are more variables that hold one."""
    declared = {name for names in declared_secrets(policy).values() for name in names}
    return Redactor(secret_values(environment, {*declared, *named}), policy.redact if policy is not None else ())


def _forms(value: str) -> Iterator[str]:
    """Give every way in which a value may be written into a text."""
    value = value.strip()
    if len(value) < SHORTEST:
        return
    yield value
    for safe in _KEPT_IN_URLS:
        quoted = quote(value, safe=safe)
        yield from (quoted, _PERCENT.sub(_in_small_letters, quoted))
    yield quote_plus(value)
    for escaped in (html.escape(value), html.escape(value, False)):
        yield from (escaped, escaped.replace("&quot;", '"'))
        yield escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    once = json.dumps(value)[1:-1]
    for written in (once, json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]):
        yield from (written, written.replace("/", "\\/"), *_without_markup(written))
    yield json.dumps(once)[1:-1]
    yield from _encoded(value.encode("utf-8", "surrogatepass"))
    for line in value.splitlines():
        if len(line.strip()) >= _LEAST_LINE and line.strip() != value:
            yield line.strip()


def _in_small_letters(found: re.Match[str]) -> str:
    return found.group().lower()


def _without_markup(written: str) -> Iterator[str]:
    """Give JSON as it stands within HTML: with `<`, `>`, `&` and perhaps `'` as `\\u003c` and the like."""
    signs = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}
    for coded in (signs, {**signs, ord("'"): "\\u0027"}):
        yield written.translate(coded)


def _encoded(raw: bytes) -> Iterator[str]:
    yield from (raw.hex(), raw.hex().upper())
    for offset in range(3):  # base64 of a text in which it stands anywhere
        bits = 8 * (offset + len(raw))
        text = base64.b64encode(bytes(offset) + raw).decode()[-(-8 * offset // 6) : bits // 6]
        if len(text) >= _LEAST_ENCODED:
            yield from (text, text.replace("+", "-").replace("/", "_"), quote(text, safe=""))


def _trie(words: Iterable[str]) -> str:
    """Return a regular expression of literal words, the longest first, that share their beginnings."""
    root: dict[str, Any] = {}
    for word in words:
        node = root
        for char in word:
            node = node.setdefault(char, {})
        node[""] = {}
    return _branches(root)


def _branches(node: dict[str, Any]) -> str:
    literal = ""
    while len(node) == 1 and "" not in node:  # no branch: a run of characters
        ((char, node),) = node.items()
        literal += re.escape(char)
    rest = [re.escape(char) + _branches(below) for char, below in sorted(node.items()) if char]
    if not rest:
        return literal
    joined = "|".join(rest)
    return f"{literal}(?:{joined}){'?' if '' in node else ''}"


def _split_keys(name: str, value: str) -> list[str]:
    return [part.strip() for part in value.split(",")] if name.upper().startswith("MUSTER_") and "," in value else []


def _passwords(value: str) -> list[str]:
    return [found for found in re.findall(r"://[^\s/:@]*:([^\s/@]+)@", value) if len(found) >= SHORTEST]


def _keep_lead(found: re.Match[str]) -> str:
    lead, before = found["lead"], found.string[max(0, found.start() - 13) : found.start()]
    return found.group() if _PAGE.search(before + lead) else lead + HIDDEN


def _hide_all(match: re.Match[str]) -> str:
    return HIDDEN if match.group() else ""


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        what = f"policy.yaml: redact: {pattern!r} is no regular expression: {error}"
        raise AppError(what, fix="see https://docs.python.org/3/library/re.html", exit_code=3) from None
