"""Keeps a project's own tool to the domains that policy.yaml names for it. Works in the process of such a tool alone.

An audit hook sees each look-up and each connection that Python makes: names must be allowed, and a connection goes only
to an address that such a look-up has given. Where a call is under these rules it starts no programs and loads no
libraries with ctypes, for those no hook would see.

A guard against mistakes and against what a text has talked an agent into; none against a tool that is itself hostile,
nor for compiled libraries that talk to the network without Python (gRPC, libcurl).
"""

import _posixsubprocess
import _socket
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from tools.egress import Egress, Refused, address_of

_LOOKED_UP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_REACHED = ("socket.connect", "socket.sendto", "socket.sendmsg")
_STARTED = (
    *("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn"),
    *("os.startfile", "ctypes.dlopen"),
)
_EVENTS = frozenset({*_LOOKED_UP, *_REACHED, *_STARTED, "socket.getnameinfo"})
_ALONE = "a tool with `domains` in policy.yaml may not"


class _Guard:
    """The rules of the call that is under way. They stay until the next begins: a call may leave threads behind."""

    def __init__(self) -> None:
        self.egress: Egress | None = None
        self.working = False
        self.known: set[str] = set()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at one event. Raises: Refused."""
        if event not in _EVENTS or self.egress is None:
            return
        if event in _STARTED:
            if self.working:
                raise Refused(f"{_ALONE} start programs or load libraries, which could connect to anywhere ({event})")
        elif event in _LOOKED_UP:
            self._look_up(arguments[0])
        else:
            self._reach(arguments[0] if event == "socket.getnameinfo" else arguments[1])

    def answered(self, host: object, addresses: Sequence[str]) -> None:
        """Take note of what a look-up gave. Raises: Refused when one of it is private."""
        if self.egress is None or host in (None, "", b""):
            return
        self.known |= {_plain(self.egress.check_address(_text(host), address)) for address in addresses}

    def _look_up(self, host: object) -> None:
        assert self.egress is not None
        if host in (None, "", b"") or _plain(_text(host)) in self.known:  # the first: to listen, not to connect
            return
        self.egress.check_host(_text(host))

    def _reach(self, address: object) -> None:
        assert self.egress is not None
        if address is None:  # a socket that is connected already
            return
        if isinstance(address, str | bytes):
            if not self.egress.private_addresses:
                raise Refused(f"{_ALONE} connect to programs of this machine ({_text(address)[:80]!r})")
            return
        host = cast(tuple[Any, ...], address)[0] if isinstance(address, tuple) and address else None
        if not isinstance(host, str | bytes):
            raise Refused(f"{_ALONE} use sockets of this kind")
        if address_of(_text(host)) is None:
            raise Refused(f"{_ALONE} connect to a name; look {_text(host)[:80]!r} up first, and connect to its address")
        if _plain(_text(host)) not in self.known:
            raise Refused(f"{_text(host)} is not an address that a look-up of an allowed domain gave")


_guard = _Guard()  # of the process, as an audit hook is: it cannot be taken back
_installed: list[bool] = []


def begin(egress: Egress) -> None:
    """Put what this process does from now on under rules. There is no way back, but to the rules of another call."""
    if not _installed:
        _installed.append(True)
        _wrap()
        sys.addaudithook(_guard.audit)
    _guard.egress, _guard.working, _guard.known = egress, False, set()


def forbid_programs() -> None:
    """Forbid what the hook could not see, from when a tool's code has been loaded; loading libraries may need it."""
    _guard.working = True


def _wrap() -> None:
    """Have look-ups tell their answers: the hook sees questions only. Code that goes around this knows no addresses."""
    whole, short, long = _socket.getaddrinfo, _socket.gethostbyname, _socket.gethostbyname_ex

    def getaddrinfo(host: Any, *more: Any, **named: Any) -> Any:
        found = whole(host, *more, **named)
        _guard.answered(host, [str(entry[4][0]) for entry in found])
        return found

    def gethostbyname(name: Any) -> str:
        found = short(name)
        _guard.answered(name, [found])
        return found

    def gethostbyname_ex(name: Any) -> Any:
        found = long(name)
        _guard.answered(name, found[2])
        return found

    for wrapped in (getaddrinfo, gethostbyname, gethostbyname_ex):
        setattr(_socket, wrapped.__name__, wrapped)
        if wrapped is not getaddrinfo:  # that one is Python's own, and looks the other up at each call
            setattr(socket, wrapped.__name__, wrapped)
    # multiprocessing starts programs by this alone, which no event tells of.
    started: Callable[..., Any] = vars(_posixsubprocess)["fork_exec"]

    def fork_exec(*arguments: Any) -> Any:
        _guard.audit("subprocess.Popen", ())
        return started(*arguments)

    setattr(_posixsubprocess, "fork_exec", fork_exec)  # noqa: B010


def _text(host: object) -> str:
    return host.decode("latin-1") if isinstance(host, bytes | bytearray) else str(host)


def _plain(host: str) -> str:
    found = address_of(host)
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found or host)
