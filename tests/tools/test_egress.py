"""Where a tool may connect to: domains, addresses, redirects, and names whose answers change. The server is real."""

import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from muster import ToolContext
from tests.pace import cpu_of
from tools.egress import Egress, Refused, address_of, is_private, plain_host
from tools.fetch import FetchFailed, Page, fetch
from tools.http_get import http_get

SITE = "site.test"
OTHER = "other.test"


class Site:
    """A web server on loopback; `pages` says what it answers: (status, headers, content)."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                status, headers, content = site.pages.get(self.path, (404, {}, b"nothing"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str = "/", host: str = SITE) -> str:
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def here(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


def inside(*domains: str) -> Egress:
    """Return rules under which the server on loopback may be reached."""
    return Egress(domains or (SITE,), private_addresses=True)


def refused(url: str, egress: Egress | None = None, resolve: Callable[[str, int], list[str]] = here) -> str:
    with pytest.raises(Refused) as caught:
        fetch(url, egress or Egress((SITE,)), resolve=resolve)
    return str(caught.value)


# -- domains and addresses


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("example.com", "example.com", True),
        ("example.com", "EXAMPLE.com.", True),
        ("example.com", "www.example.com", False),
        ("example.com", "notexample.com", False),
        ("example.com", "example.com.evil.net", False),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("BÜCHER.example", "bücher.example", True),
        ("example.com", "ехample.com", False),  # Cyrillic
        ("straße.example", "strasse.example", False),
        ("*", "anything.example", True),
        ("*", "93.184.215.14", False),
        ("93.184.215.14", "93.184.215.14", True),
        ("2606:2800:21f::1", "[2606:2800:21f:0::1]", True),
    ],
)
def test_a_domain_covers_itself_and_a_pattern_what_is_below_it(pattern: str, host: str, covered: bool) -> None:
    try:
        Egress((pattern,)).check_host(host)
        found = True
    except Refused:
        found = False
    assert found is covered


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "1.2.3.4.5",
        "fe80::1%eth0",
        "[fe80::1%25eth0]",
        "a..b",
        "",
        ".",
        "-a.example",
        "a b.example",
        "exa%6dple.com",
        "x" * 64 + ".example",
        "a/b",
        "a@b",
        "a:80",
    ],
)
def test_a_host_in_an_unusual_form_is_refused_even_where_every_name_is_allowed(host: str) -> None:
    with pytest.raises(Refused):
        Egress(("*",), private_addresses=True).check_host(host)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
     "169.254.169.254", "100.64.0.1", "100.127.255.255", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1",
     "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1",
     "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::7f00:1", "2002:7f00:1::", "2002:a00:1::1", "64:ff9b::7f00:1",
     "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2001::1", "100::1"],
)  # fmt: skip
def test_addresses_that_are_not_public_are_known(address: str) -> None:
    found = address_of(address)
    assert found is not None
    assert is_private(found)
    with pytest.raises(Refused, match="private network"):
        Egress((address, "x.test")).check_address("x.test", address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "172.32.0.1", "2606:2800:21f::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_let_through(address: str) -> None:
    assert Egress(("x.test",)).addresses("x.test", 443, lambda _h, _p: [address]) == [str(address_of(address))]


def test_one_private_answer_among_several_refuses_the_name() -> None:
    def mixed(_host: str, _port: int) -> list[str]:
        return ["93.184.215.14", "10.0.0.5"]

    assert refused(f"http://{SITE}/", resolve=mixed) == (
        f"{SITE} leads to 10.0.0.5, which is an address of this machine or a private network"
    )


def test_plain_host_is_the_same_for_each_way_of_writing() -> None:
    assert {plain_host(host) for host in ("Bücher.example", "bücher.example.", "XN--BCHER-KVA.example")} == {
        "xn--bcher-kva.example"
    }


# -- fetching


def test_a_page_is_fetched_from_the_address_that_was_checked(site: Site) -> None:
    site.pages["/a?q=1"] = (200, {"Content-Type": "text/plain; charset=latin-1"}, "schön".encode("latin-1"))
    page = fetch(site.url("/a?q=1#part"), inside(), resolve=here)
    assert (page.status, page.kind, page.charset, page.content) == (200, "text/plain", "latin-1", b"sch\xf6n")
    path, headers = site.asked[0]
    assert (path, headers["host"]) == ("/a?q=1", f"{SITE}:{site.port}")
    assert not {"cookie", "authorization", "referer"} & set(headers)


def test_a_name_whose_answer_changes_is_looked_up_once(site: Site) -> None:
    answers = iter([["93.184.215.14"], ["127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    with pytest.raises(AssertionError, match=r"a test connects to \('93\.184\.215\.14'"):  # and to nothing else
        fetch(site.url(), Egress((SITE,)), resolve=rebinding)
    assert asked == [SITE]
    assert site.asked == []


def test_a_name_that_turns_private_at_a_redirect_is_refused(site: Site) -> None:
    site.pages["/"] = (302, {"Location": "/inside"}, b"")
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    strict = _FirstHopAnywhere((SITE,))
    assert "169.254.169.254" in refused(site.url(), strict, lambda _h, _p: next(answers))
    assert [path for path, _ in site.asked] == ["/"]


class _FirstHopAnywhere(Egress):
    """Lets the first address through, as if loopback were a public one; there is no other network in tests."""

    def check_address(self, host: str, address: str) -> str:
        return address if address == "127.0.0.1" else super().check_address(host, address)


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://site.test/",
        "gopher://site.test/",
        "data:text/plain,x",
        "http://127.0.0.1:{port}/x",
        "http://localhost:{port}/x",
        "http://other.test:{port}/x",
        "//other.test:{port}/x",
        "http://[::1]:{port}/x",
        "http://site.test@127.0.0.1:{port}/x",
        "http://2130706433:{port}/x",
        "http://site.test:0/x",
        "http://[::ffff:127.0.0.1]:{port}/x",
        "http://site.test\\@127.0.0.1:{port}/x",
        "http://169.254.169.254/x",
    ],
)
def test_a_redirect_is_checked_like_the_first_address(site: Site, target: str) -> None:
    site.pages["/"] = (302, {"Location": target.format(port=site.port)}, b"")
    site.pages["/x"] = (200, {"Content-Type": "text/plain"}, b"secret")
    assert refused(site.url(), inside())
    assert [path for path, _ in site.asked] == ["/"]


@pytest.mark.parametrize(
    "url",
    [
        "http://site.test@127.0.0.1/",
        "http://user:pass@site.test/",
        "http://site.test/a b",
        "http://127.0.0.1/",
        "x",
        "//site.test/",
        "file:///etc/passwd",
        "http:///x",
        "HTTP://LOCALHOST/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://site.test\t.evil.test/",
        "http://site.test:99999/",
        "javascript:1",
        "",
        "http://①②⑦.0.0.1/",
    ],
)
def test_an_address_that_is_not_plainly_allowed_is_not_asked(url: str) -> None:
    assert refused(url)


def test_redirects_are_followed_and_nothing_is_carried_along(site: Site) -> None:
    site.pages["/"] = (302, {"Location": "/b", "Set-Cookie": "session=1; Path=/"}, b"")
    site.pages["/b"] = (307, {"Location": f"http://{OTHER}:{site.port}/c"}, b"")
    site.pages["/c"] = (200, {"Content-Type": "text/plain"}, b"end")
    page = fetch(site.url(), inside(SITE, OTHER), resolve=here)
    assert (page.content, page.url) == (b"end", f"http://{OTHER}:{site.port}/c")
    assert [headers["host"] for _, headers in site.asked] == [f"{SITE}:{site.port}"] * 2 + [f"{OTHER}:{site.port}"]
    assert all("cookie" not in headers and "referer" not in headers for _, headers in site.asked)


def test_a_circle_of_redirects_ends(site: Site) -> None:
    site.pages["/"] = (302, {"Location": "/"}, b"")
    with pytest.raises(FetchFailed, match="more than 5 redirects"):
        fetch(site.url(), inside(), resolve=here)
    assert len(site.asked) == 6


def test_proxies_of_the_environment_are_not_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.pages["/"] = (200, {"Content-Type": "text/plain"}, b"direct")
    assert fetch(site.url(), inside(), resolve=here).content == b"direct"


def test_an_answer_is_cut_at_its_limit(site: Site) -> None:
    site.pages["/"] = (200, {"Content-Type": "text/plain"}, b"x" * 50_000)
    page = fetch(site.url(), inside(), max_bytes=1000, resolve=here)
    assert (len(page.content), page.cut) == (1000, True)


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_a_small_answer_that_unpacks_to_a_large_one_is_cut(site: Site, packing: str) -> None:
    bomb = (gzip.compress if packing == "gzip" else zlib.compress)(b"\0" * 300_000_000)
    site.pages["/"] = (200, {"Content-Type": "text/plain", "Content-Encoding": packing}, bomb)
    pages: list[Page] = []
    taken = cpu_of(lambda: pages.append(fetch(site.url(), inside(), max_bytes=100_000, resolve=here)))
    assert [(len(page.content), page.cut) for page in pages] == [(100_000, True)]
    assert taken < 10  # to unpack all of it takes more than that


def test_a_packed_answer_is_unpacked(site: Site) -> None:
    text = b"".join(b"line %d\n" % number for number in range(20_000))
    site.pages["/"] = (200, {"Content-Type": "text/plain", "Content-Encoding": "gzip"}, gzip.compress(text))
    assert fetch(site.url(), inside(), resolve=here).content == text


def _dripping(pieces: bytes) -> tuple[socket.socket, threading.Event]:
    """Return a listening socket that sends one byte each 50 ms until `ended` is set or the client has gone."""
    listening, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65_536)
            for byte in pieces:
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return
                if ended.wait(0.05):
                    return

    threading.Thread(target=serve, daemon=True).start()
    return listening, ended


@pytest.mark.parametrize(
    "pieces", [b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 999]
)
def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_the_tool(pieces: bytes) -> None:
    listening, ended = _dripping(pieces)
    began = time.monotonic()
    with listening, pytest.raises(FetchFailed):
        fetch(f"http://{SITE}:{listening.getsockname()[1]}/", inside(), seconds=1.5, resolve=here)
    ended.set()
    assert time.monotonic() - began < 30  # the server takes more than a minute, or fifty seconds


def test_a_certificate_must_be_that_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = _certificate(tmp_path, SITE)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    site = Site()
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
    site.pages["/"] = (200, {"Content-Type": "text/plain"}, b"safe")
    site.pages["/down"] = (302, {"Location": f"http://{SITE}/"}, b"")
    secure = f"https://{SITE}:{site.port}"
    assert fetch(f"{secure}/", inside(), resolve=here).content == b"safe"
    assert "from https to http" in refused(f"{secure}/down", inside())
    with pytest.raises(FetchFailed, match="certificate verify failed"):
        fetch(f"https://{OTHER}:{site.port}/", inside(OTHER), resolve=here)
    site.server.shutdown()
    site.server.server_close()


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "key.pem", folder / "certificate.pem"


# -- the tool


def context(folder: Path, *domains: str, known: bool = True) -> ToolContext:
    return ToolContext(folder, folder, domains=domains if known else None, private_addresses=True)


def test_http_get_returns_html_as_text(site: Site, tmp_path: Path) -> None:
    html = (
        b"<html><head><title>News</title><script>bad()</script></head><body><h1>Sun</h1><p>It <b>shines</b>.</p></body>"
    )
    site.pages["/"] = (200, {"Content-Type": "text/html; charset=utf-8"}, html)
    url = site.url(host="127.0.0.1")
    assert http_get(url, context(tmp_path, "127.0.0.1")) == (
        f"200 {url} (text/html, {len(html)} bytes)\n\nNews\nSun\nIt shines."
    )


def test_http_get_returns_json_as_it_is_and_shows_nothing_of_other_types(site: Site, tmp_path: Path) -> None:
    site.pages["/j"] = (200, {"Content-Type": "application/json"}, b'{"a": 1}')
    site.pages["/b"] = (200, {"Content-Type": "image/png"}, b"\x89PNG")
    allowed = context(tmp_path, "127.0.0.1")
    assert http_get(site.url("/j", "127.0.0.1"), allowed).endswith('(application/json, 8 bytes)\n\n{"a": 1}')
    assert http_get(site.url("/b", "127.0.0.1"), allowed).endswith(
        "(image/png, 4 bytes)\nThis is no text and is not shown."
    )


def test_http_get_says_what_went_wrong(site: Site, tmp_path: Path) -> None:
    url = site.url("/none", "127.0.0.1")
    with pytest.raises(ValueError, match=f"{url} answered 404 Not Found"):
        http_get(url, context(tmp_path, "127.0.0.1"))
    with pytest.raises(ValueError, match="localhost is not among the domains"):
        http_get(site.url(host="localhost"), context(tmp_path, "127.0.0.1"))


def test_http_get_reaches_nothing_without_domains(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"write `tools: \{http_get: \{domains:"):
        http_get(site.url(host="127.0.0.1"), context(tmp_path, known=False))
    with pytest.raises(ValueError, match=r"allows here \(none\)"):
        http_get(site.url(host="127.0.0.1"), context(tmp_path))
    assert site.asked == []
