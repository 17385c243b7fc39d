"""The rule `no_personal_data`: addresses and numbers by which a person can be reached, paid or found."""

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from tasks.prose import Line

KINDS = ("email", "phone", "iban", "card", "ssn", "ip")

_NAMES = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "iban": "a bank account number (IBAN)",
    "card": "a card number",
    "ssn": "a social security number",
    "ip": "an IP address",
}
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,5}[^\W\d_]{2,24}(?![\w@])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\d.,])\d(?:[ -]?\d){12,18}(?!\d|[.,]\d)")
_SSN = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\d-])")
_BARE_SSN = re.compile(r"(?:\bSSN\b|social security)[^\d\n]{0,30}(\d{9})(?!\d)", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{4,39}(?![\w:])")
_VERSION = re.compile(r"\b(?:version|release|build|v|section|chapter)\.?\s?$", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\w+.,/-])(?:\+|00|\(|)\d(?:[ ()./-]{0,3}\d){5,16}(?![\w/-]|[.,]\d)")
_CALLED = re.compile(
    r"(?:\b(?:tel|phone|telephone|mobile|cell|fax|call|dial|ring|whatsapp|sms|hotline)\b|☎|📞)[^\n]{0,20}$",
    re.IGNORECASE,
)
_NORTH_AMERICAN = re.compile(r"(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}")
_DATE = re.compile(r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}")


def personal_data(lines: Sequence[Line], kinds: Collection[str]) -> list[str]:
    """Return where personal data of these kinds stands. The reasons show it masked, never whole."""
    reasons: list[str] = []
    for line in lines:
        if line.kind in ("blank", "offline"):
            continue
        for kind, found in _found(line.text, kinds):
            reasons += [
                f"{label}: {_NAMES[kind]}, {_masked(kind, found)}; leave it out"
                for label in dict.fromkeys(line.labels_where(_holding(found)))
            ]
    return reasons


def _holding(part: str) -> Callable[[str], bool]:
    return lambda text: part in text


def _found(text: str, kinds: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each find once, as the first kind it can be: a card's digits are no telephone number as well."""
    taken: list[tuple[int, int]] = []
    found: list[tuple[int, str, str]] = []
    for kind, search in _SEARCHES.items():
        for start, end in search(text):
            if any(start < other_end and other_start < end for other_start, other_end in taken):
                continue
            taken.append((start, end))
            if kind in kinds:
                found.append((start, kind, text[start:end]))
    for _, kind, value in sorted(found):
        yield kind, value


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        # Words that follow without punctuation are read as more of it: the longest that adds up is the number.
        for end in range(match.end(), match.start() + 14, -1):
            if text[end : end + 1].isalnum():
                continue
            packed = re.sub("[ -]", "", text[match.start() : end]).upper()
            if 15 <= len(packed) <= 34 and text[end - 1].isalnum() and _adds_up(packed):
                yield match.start(), end
                break


def _adds_up(iban: str) -> bool:
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        digits = [int(c) for c in match[0] if c.isdecimal()]
        doubled = [n if i % 2 == 0 else n * 2 - 9 * (n > 4) for i, n in enumerate(reversed(digits))]
        if sum(doubled) % 10 == 0 and len(set(digits)) > 1 and digits[0] in (2, 3, 4, 5, 6):
            yield match.span()


def _ssns(text: str) -> Iterator[tuple[int, int]]:
    yield from (match.span() for match in _SSN.finditer(text))
    yield from (match.span(1) for match in _BARE_SSN.finditer(text))


def _ips(text: str) -> Iterator[tuple[int, int]]:
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            if pattern is _IPV6 and (match[0].count(":") < 2 or re.fullmatch(r"\d\d?(?::\d\d){1,2}", match[0])):
                continue
            if not _VERSION.search(text[max(0, match.start() - 10) : match.start()]) and _reaches_somebody(match[0]):
                yield match.span()


def _reaches_somebody(address: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (known.is_loopback or known.is_unspecified or known.is_multicast or address.startswith("255."))


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for match in _PHONE.finditer(text):
        written = match[0]
        digits = sum(c.isdecimal() for c in written)
        before = text[max(0, match.start() - 40) : match.start()]
        foreign = written.startswith("+") and 8 <= digits <= 15
        if _DATE.fullmatch(written) or digits > 15 or digits < 6:
            continue
        if (
            foreign
            or _NORTH_AMERICAN.fullmatch(written)
            or _CALLED.search(before)
            or (re.fullmatch(r"(?:0|\(0)\d{1,5}\)?[ /-]\d[\d -]{4,11}", written) and digits >= 9)
        ):
            yield match.span()


_SEARCHES: Mapping[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "ssn": _ssns,
    "ip": _ips,
    "phone": _phones,
}


def _masked(kind: str, found: str) -> str:
    if kind == "email":
        name, _, domain = found.partition("@")
        return f"{name[0]}…@…{domain[domain.rfind('.') :]}"
    packed = re.sub(r"[^\w.:]", "", found)
    if kind == "ip":
        return f"{re.split('[.:]', packed)[0]}…"
    return f"{packed[:2]}…" if kind == "iban" else f"…{packed[-2:]}"
