"""The processes that run a project's own functions, so that one that blocks can be ended. This side runs in them.

A keeper, started once by Muster's process, has everything imported and forks a host for each function that is under way
at a time. It has one thread, so that forking it is safe; Muster's own process, which holds locks, is never forked. All
end with Muster's process, however that ends: their sockets close.
"""

import atexit
import contextlib
import ctypes
import functools
import json
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from muster import ToolContext
from project.errors import AppError
from tools.egress import Egress
from tools.egress_guard import begin, forbid_programs
from tools.load import GUARDRAIL_MARK, TOOL_MARK, load_file
from tools.tool import Tool, make_tool

Act = Literal["load", "call", "probe", "undo", "guardrail"]
"""What a host is asked to do with a function; `load` only makes it ready."""

GRACE_SECONDS = 0.3
"""Time that a function has for its `finally` blocks when it is ended."""

_PR_SET_PDEATHSIG = 1
HEAD = struct.Struct("!q")
"""A number as it is sent: a length, a process, how it ended."""


class TimeIsUp(BaseException):
    """Raised in a function that is being ended. No Exception: what goes on after any error must not go on then."""


def write_frame(connection: socket.socket, value: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one JSON value, and with it open files. Raises: OSError."""
    text = json.dumps(value).encode()  # ASCII: half characters pass as escapes
    head = HEAD.pack(len(text))
    if descriptors:
        socket.send_fds(connection, [head], descriptors)
        connection.sendall(text)
    else:
        connection.sendall(head + text)


def read_frame(connection: socket.socket, seconds: float | None = None) -> dict[str, Any] | None:
    """Receive one JSON value; None when the other side is gone. Raises: OSError, TimeoutError after so many seconds."""
    until = None if seconds is None else time.monotonic() + seconds
    head = _read(connection, HEAD.size, until)
    body = _read(connection, HEAD.unpack(head)[0], until) if head is not None else None
    return None if body is None else json.loads(body)


def _read(connection: socket.socket, count: int, until: float | None) -> bytes | None:
    parts: list[bytes] = []
    while count > 0:
        connection.settimeout(None if until is None else max(0.001, until - time.monotonic()))
        part = connection.recv(min(count, 1 << 20))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


# -- the keeper


def keep(number: int) -> None:
    """Fork hosts, until the socket of this number closes; then end every host and what it started."""
    control = socket.socket(fileno=number)
    control.set_inheritable(False)
    os.dup2(2, 1)  # what a function prints is no result
    hosts: set[int] = set()
    while True:
        try:
            order, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        except OSError:
            order, descriptors = b"", []
        if not order:
            break
        if order == b"h":
            hosts.add(_fork(control, descriptors[0]))
        else:  # one that its owner has ended
            gone = HEAD.unpack(_read(control, HEAD.size, None) or bytes(HEAD.size))[0]
            hosts.discard(gone)
            _send_number(control, _reap(gone))
    _end(hosts)


def _fork(control: socket.socket, descriptor: int) -> int:
    keeper = os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            control.close()
            os.setsid()  # a group of its own: what the function starts ends with it, and Ctrl-C is not for it
            _die_with(keeper)
            os.set_inheritable(descriptor, False)
            serve(socket.socket(fileno=descriptor))
            code = 0
        except (TimeIsUp, KeyboardInterrupt):
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            _leave(code)
    os.close(descriptor)
    _send_number(control, child)
    return child


def _send_number(control: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        control.sendall(HEAD.pack(number))


def _leave(code: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # asked to end while it ends: the keeper kills what takes too long
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # type: ignore[attr-defined]  # what the user's modules have registered
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _die_with(keeper: int) -> None:
    """Have the kernel kill this process when the keeper dies; where there is no such call, the socket's end must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)


def _end(hosts: set[int]) -> None:
    below = {host: ask_to_end(host) for host in hosts}
    until = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < until and not all(_has_ended(host) for host in hosts):
        select.select([], [], [], 0.01)
    for host in hosts:
        kill_tree(host, below[host])
        _reap(host)


def _has_ended(process: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return True


def _reap(process: int) -> int:
    """Return how a process ended: its exit code, or the number of a signal below zero."""
    with contextlib.suppress(ChildProcessError):
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return 0


def ask_to_end(process: int) -> list[int]:
    """Have a host end its function's `finally` blocks and itself; return what descends from it, for `kill_tree`."""
    below = _descendants(process)
    with contextlib.suppress(OSError):
        os.kill(process, signal.SIGTERM)
    return below


def kill_tree(process: int, below: Sequence[int] = ()) -> None:
    """Kill a host, its group and, on Linux, whatever else descends from it. The host must not have been reaped.

    `below` are those that descended from it before it was asked to end: it may have ended, and left them to others.
    """
    alive = {*below, *_descendants(process)}
    with contextlib.suppress(OSError):
        os.killpg(process, signal.SIGKILL)
    kill_all(alive)


def kill_all(processes: Iterable[int]) -> None:
    """Kill these processes, where they still are there."""
    for process in processes:
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)


def _descendants(process: int) -> list[int]:
    found: list[int] = []
    waiting = [process]
    while waiting:
        for tasks in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError, ValueError):
                children = [int(word) for word in tasks.read_text().split()]
                found += children
                waiting += children
    return found


# -- a host


def serve(connection: socket.socket) -> None:
    """Answer requests until the connection closes."""
    signal.signal(signal.SIGTERM, _end_idle)
    known: dict[str, Mapping[Path, bytes]] = {}
    with contextlib.suppress(OSError):  # Muster's process has died
        while (received := _receive(connection)) is not None:
            request, held = received
            answer = _answer(connection, request, known)
            os.close(held)
            write_frame(connection, answer)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], int] | None:
    """Return a request, and the file that it keeps open until it is answered; None when the other side is gone."""
    head, descriptors, _, _ = socket.recv_fds(connection, HEAD.size, 1)
    if not descriptors:
        return None
    os.set_inheritable(descriptors[0], False)
    head += _read(connection, HEAD.size - len(head), None) or b""
    body = _read(connection, HEAD.unpack(head)[0], None)
    return None if body is None else (json.loads(body), descriptors[0])


def _end_idle(_number: int, _frame: object) -> None:
    _leave(0)


def _time_is_up(_number: int, _frame: object) -> None:
    raise TimeIsUp


def _work_off(work: Callable[[], object]) -> object:
    """Run a project's function, which alone is interrupted by an exception."""
    signal.signal(signal.SIGTERM, _time_is_up)
    try:
        return work()
    finally:
        signal.signal(signal.SIGTERM, _end_idle)


def _answer(
    connection: socket.socket, request: dict[str, Any], known: dict[str, Mapping[Path, bytes]]
) -> dict[str, Any]:
    try:
        _take_surroundings(request)
        restricted = _restrict(request)
        if "sources" in request:
            known[request["digest"]] = _read_sources(request["sources"])
        work = _find(request, known[request["digest"]])
        if restricted:
            forbid_programs()
        write_frame(connection, {"ready": True})  # the call's time begins now: loading is not the function's
        return {"result": _work_off(work)}
    except TimeIsUp:
        raise
    except BaseException as error:  # user code: whatever it raises, a call to end the process included, is data
        return {"error": {"kind": type(error).__name__, "message": str(error)}}


def _take_surroundings(request: Mapping[str, Any]) -> None:
    """Let the function see the environment and the working folder that Muster's own process has now."""
    if dict(os.environ) != request["environment"]:
        os.environ.clear()
        os.environ.update(request["environment"])
    with contextlib.suppress(OSError):  # a folder that was removed: a thread would stand in none either
        if os.getcwd() != request["folder"]:
            os.chdir(request["folder"])


def _restrict(request: Mapping[str, Any]) -> bool:
    """Keep a tool to its domains, where policy.yaml names some; its host serves no other. Return whether it does."""
    context = cast("Mapping[str, Any]", request.get("context", {}))
    if context.get("domains") is None:
        return False
    begin(Egress(tuple(context["domains"]), context["private_addresses"]))
    return True


def _read_sources(sources: Mapping[str, str]) -> dict[Path, bytes]:
    return {Path(path): text.encode("latin-1") for path, text in sources.items()}


def _find(request: Mapping[str, Any], sources: Mapping[Path, bytes]) -> Callable[[], object]:
    act: Act = request["act"]
    if act == "guardrail":
        check = _load(request, sources, GUARDRAIL_MARK)
        return lambda: _plain_verdict(check(request["text"]))
    tool = _tool(_load(request, sources, TOOL_MARK), json.dumps(request["settings"]))
    if act == "load":
        return lambda: None
    domains = request["context"]["domains"]
    context = ToolContext(
        project=Path(request["context"]["project"]),
        output_folder=Path(request["context"]["output_folder"]),
        inputs=request["context"]["inputs"],
        idempotency_key=request["context"]["idempotency_key"],
        secrets=request["context"]["secrets"],
        domains=tuple(domains) if domains is not None else None,
        private_addresses=request["context"]["private_addresses"],
    )
    arguments = cast(dict[str, Any], request["arguments"])
    if act == "probe":
        assert tool.probe is not None
        return functools.partial(tool.probe, arguments, context)
    if act == "undo":
        assert tool.undo is not None
        return functools.partial(tool.undo, arguments, request["result"], context)
    return functools.partial(tool.call, arguments, context)


def _load(request: Mapping[str, Any], sources: Mapping[Path, bytes], mark: str) -> Callable[..., Any]:
    found = load_file(Path(request["file"]), mark, sources)
    if request["name"] not in found:
        raise AppError(f"{request['name']} is not in {request['file']} when it is loaded in a process of its own")
    return found[request["name"]]


@functools.lru_cache(maxsize=256)
def _tool(function: Callable[..., Any], settings: str) -> Tool:
    return make_tool(function, json.loads(settings))


def _plain_verdict(said: Any) -> Any:
    return said if said is None or isinstance(said, bool) else str(said)
