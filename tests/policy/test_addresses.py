"""Whose hosts the addresses among arguments name, and which can be read in two ways."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.addresses import Unclear, canonical_host, hosts_in


@pytest.mark.parametrize(
    ("arguments", "hosts"),
    [
        ({"url": "https://example.com@evil.com/x"}, ["evil.com"]),
        ({"url": "https://user:pw@good.com:8443/"}, ["good.com"]),
        ({"url": "HTTPS://EXAMPLE.com.:443/x"}, ["example.com"]),
        ({"url": "//evil.com/x"}, ["evil.com"]),
        ({"url": "evil.com/x"}, ["evil.com"]),
        ({"url": "https://good.com#@evil.com"}, ["good.com", "evil.com"]),
        ({"url": "https://good.com/?u=https://evil.com"}, ["good.com", "evil.com"]),
        ({"url": "https://good.com/@user"}, ["good.com"]),
        ({"url": "http://[::ffff:127.0.0.1]/"}, ["127.0.0.1"]),
        ({"url": "http://[0:0::1]:80"}, ["::1"]),
        ({"url": "https://exаmple.com"}, ["xn--exmple-4nf.com"]),
        ({"webhookUrl": "hooks.example.com"}, ["hooks.example.com"]),
        ({"host": "example.com:8080"}, ["example.com"]),
        ({"to": "Bob <bob@x.com>; ann@y.com"}, ["x.com", "y.com"]),
        ({"to": "bob@good.com\nBcc: x@evil.com"}, ["good.com", "evil.com"]),
        ({"to": ["a@b.com", {"email": "c@d.com"}]}, ["b.com", "d.com"]),
        ({"url": "mailto:bob@x.com?cc=eve@evil.com"}, ["x.com", "evil.com"]),
        ({"text": "see https://good.com, or write to bob@example.com. Bye @ann"}, ["good.com", "example.com"]),
        ({"text": '<a href="https://good.com">here</a>'}, ["good.com"]),
        ({"text": "a line\nhttps://good.com\nand more"}, ["good.com"]),
        ({"headers": {"https://evil.com": "1"}}, ["evil.com"]),
        ({"text": "// no address, 5 @ 3 each, e.g. this"}, []),
        ({"path": "file:///etc/passwd", "n": 5, "none": None, "to": ""}, []),
    ],
)
def test_hosts(arguments: dict[str, Any], hosts: list[str]) -> None:
    assert list(hosts_in(arguments)) == hosts


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://0x7f.1/"},
        {"url": "http://2130706433/"},
        {"url": "http://127.1"},
        {"url": "http://010.0.0.1"},
        {"url": "http://[fe80::1%25eth0]/"},
        {"url": "https://good.com\\@evil.com"},
        {"url": "https:\\\\evil.com"},
        {"url": "https:/evil.com"},
        {"url": "https:evil.com"},
        {"url": "https:///evil.com"},
        {"url": "https://ｅxample.com"},
        {"url": "https://good.com。evil.com"},
        {"url": "https://exam\u200bple.com"},
        {"url": "https://exam\xadple.com"},
        {"url": "https://faß.de"},
        {"url": "https://good.com\t.evil.com"},
        {"target": "https://good.com\t.evil.com"},
        {"target": "https://good.com\n.evil.com/x"},
        {"target": "https://good.com'.evil.com"},
        {"target": "https://good.com|.evil.com"},
        {"target": "https://good.com\u3000.evil.com"},
        {"target": "\\\\evil.com\\share"},
        {"url": "https://good.com%2eevil.com"},
        {"url": "https://good.com:80:90"},
        {"url": "https://good..com"},
        {"url": "https://-good.com"},
        {"url": "https://a@b@good.com"},
        {"url": "javascript:alert(1)"},
        {"url": "https://"},
        {"url": 5},
        {"to": "a@good.com@evil.com"},
        {"to": '"a@good.com"@evil.com'},
        {"to": "user%evil.com@good.com"},
        {"to": "bob@[10.0.0.1]"},
        {"to": "Bob Builder"},
        {"text": "mail evil.com!bob@good.com"},
    ],
)
def test_what_two_programs_could_read_differently_is_unclear(arguments: dict[str, Any]) -> None:
    with pytest.raises(Unclear):
        hosts_in(arguments)


@given(st.text(alphabet="ab.@:/\\?#[]%!'\" <>\n\t1-_aä。", max_size=40), st.sampled_from(["url", "to", "text"]))
def test_any_text_is_read_or_unclear(text: str, name: str) -> None:
    found: tuple[str, ...] = ()
    with contextlib.suppress(Unclear):
        found = hosts_in({name: text})
    assert all(host == canonical_host(host if ":" not in host else f"[{host}]") for host in found)


@pytest.mark.parametrize("piece", ["a", "@", "//", "://", "https:", "a@", ".", "\\", "[", "x@y ", '"'])
def test_long_texts_are_read_in_time(piece: str) -> None:
    with contextlib.suppress(Unclear):
        hosts_in({"text": piece * 100_000})
    assert hosts_in({"text": "fine"}) == ()
