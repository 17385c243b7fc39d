"""Calls of the project's own functions with a deadline that binds: in processes that are kept, reused, and ended."""

import atexit
import contextlib
import contextvars
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.make import clean
from muster import ToolContext
from project.secrets import host_environment
from runs.executing.locks import calls_held
from runs.executing.state import Parked, RunState
from runs.governed import redaction
from tools.host import GRACE_SECONDS, HEAD, Act, ask_to_end, kill_all, kill_tree, read_frame, write_frame
from tools.registry import home_of
from tools.tool import Home, Tool

GUARDRAIL_SECONDS = 60.0
_LOAD_SECONDS = 120.0
_MOST_IDLE = 8
_CLOSE_SECONDS = 3.0
_MOST_CHARACTERS = 2000
# Not `-m`: the keeper takes over this process's path, so that it finds what is found here.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tools.host import keep; keep(int(sys.argv[2]))"


class FunctionFailed(Exception):
    """A function of the project's failed. `kind` is the exception's class, `timeout` or `died`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def ended(self) -> bool:
        """Whether it was ended in the middle, so that nobody knows how far it came."""
        return self.kind in ("timeout", "died")


@dataclass(eq=False)
class _Host:
    connection: socket.socket
    process: int
    project: str
    known: set[str] = field(default_factory=set[str])
    """Digests of the code it was given."""
    run_id: str = ""
    abandoned: bool = False


class ToolHosts:
    """The hosts of this process, made when they are first needed. One call at a time each; idle ones are kept."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = 0
        self._used = False
        self._idle: list[_Host] = []
        self._busy: set[_Host] = set()

    def warm(self) -> None:
        """Start the keeper, without waiting until it is ready."""
        with self._lock:
            self._open()

    def call(
        self, run_id: str, run_folder: Path, project: Path, home: Home, act: Act, seconds: float, **request: Any
    ) -> Any:
        """Have a host do `act` with the function at `home`; return what it returned.

        `seconds` counts from when the function begins; then it is asked to end, and killed GRACE_SECONDS later.
        Until the host has ended `act` the run is this process's, even if this one dies.

        Raises: FunctionFailed; Parked when the call is ended because its run is set aside.
        """
        kept = redaction.protection_of(run_id)
        seen = kept.environment(os.environ, request.get("context", {}).get("secrets", {}))
        host = self._take(run_id, _kept_for(project, home, request))
        try:
            with calls_held(run_folder) as held:
                answer = _exchange(host, home, act, seconds, {**request, "environment": seen}, held)
        except TimeoutError:
            self._end(host)
            raise _abandoned(host) or FunctionFailed("timeout", f"no result within {seconds:g} s") from None
        except OSError:
            answer = None
        except BaseException:
            self._end(host)
            raise
        if answer is None:
            code = self._end(host)
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            raise _abandoned(host) or FunctionFailed("died", f"its process ended {how}")
        self._give_back(host)
        if "error" in answer:
            raise FunctionFailed(answer["error"]["kind"], kept.redactor.text(answer["error"]["message"]))
        return answer["result"]

    def abandon(self, run_id: str) -> None:
        """End the calls of a run at once; they raise Parked."""
        with self._lock:
            for host in self._busy:
                if host.run_id == run_id:
                    host.abandoned = True
                    kill_tree(host.process)  # who waits for it sees its socket close, and reaps it

    def close(self) -> None:
        """End every host, what its functions started, and the keeper. Another call starts them anew."""
        with self._lock:
            keeper, control = self._keeper, self._control
            hosts, self._idle = [*self._idle, *self._busy], []
            self._busy.clear()
            self._keeper = self._control = None
            mine, used = self._owner == os.getpid(), self._used
        for host in hosts:
            host.abandoned = True
            with contextlib.suppress(OSError):
                host.connection.shutdown(socket.SHUT_RDWR) if mine else host.connection.close()
        if control is not None:
            control.close()
        if keeper is not None and mine:
            if not used:  # it may still be importing, and has nothing to end
                keeper.kill()
            try:
                keeper.wait(_CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                keeper.kill()
                keeper.wait()

    # -- parts

    def _take(self, run_id: str, project: str) -> _Host:
        with self._lock:
            self._open()
            host = next((host for host in reversed(self._idle) if host.project == project), None)
            if host is None:
                host = self._fork(project)
            else:
                self._idle.remove(host)
            host.run_id = run_id
            self._busy.add(host)
            return host

    def _give_back(self, host: _Host) -> None:
        with self._lock:
            if host not in self._busy:  # closed meanwhile
                return
            self._busy.remove(host)
            self._idle.append(host)
            over = self._idle[:-_MOST_IDLE]
        for one in over:
            self._end(one)

    def _end(self, host: _Host) -> int:
        """End a host and all that it started; return its exit code, or the number of a signal below zero."""
        below = ask_to_end(host.process)
        with contextlib.suppress(OSError):
            while read_frame(host.connection, GRACE_SECONDS) is not None:  # until it has closed its end
                pass
        with self._lock:
            self._busy.discard(host)
            self._idle = [one for one in self._idle if one is not host]
            host.connection.close()
            if self._control is None:  # closed: the keeper ends it, and what it finds below it
                kill_all(below)
                return 0
            kill_tree(host.process, below)
            with contextlib.suppress(OSError):
                self._control.sendall(b"r" + HEAD.pack(host.process))
                return HEAD.unpack(_exactly(self._control, HEAD.size))[0]
        return 0

    def _open(self) -> None:
        if self._owner != os.getpid():  # forked: the keeper is the parent's
            self._keeper = self._control = None
            self._idle, self._busy = [], set()
            self._owner = os.getpid()
        if self._keeper is not None and self._keeper.poll() is None:
            return
        ours, theirs = socket.socketpair()
        path = [entry or os.getcwd() for entry in sys.path]
        with theirs:
            self._keeper = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(path), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                # Its hosts inherit what stands in /proc/self/environ; what a function needs it is sent.
                env=host_environment(os.environ, redaction.hidden_variables(), {}),
            )
        self._used = False
        self._control = ours
        self._control.settimeout(_LOAD_SECONDS)
        self._idle = []

    def _fork(self, project: str) -> _Host:
        ours, theirs = socket.socketpair()
        assert self._control is not None
        self._used = True
        try:
            with theirs:
                socket.send_fds(self._control, [b"h"], [theirs.fileno()])
            return _Host(ours, HEAD.unpack(_exactly(self._control, HEAD.size))[0], project)
        except (OSError, EOFError) as error:
            ours.close()
            raise FunctionFailed(
                "died", "the process that runs the project's functions could not be started"
            ) from error


def _kept_for(project: Path, home: Home, request: Mapping[str, Any]) -> str:
    """Return what a host is kept for: a project, or one tool of it that is bound to domains or was given secrets."""
    about = request.get("context", {})
    bound = about.get("domains") is not None
    return f"{project}\n{home.file}\n{home.name}\n{bound}" if bound or about.get("secrets") else str(project)


def _exchange(
    host: _Host, home: Home, act: Act, seconds: float, request: Mapping[str, Any], held: int
) -> dict[str, Any] | None:
    """Return the host's answer, None when it is gone; it has the file `held` open until then.

    Raises: OSError; TimeoutError when the time is up.
    """
    message = {
        "act": act,
        "file": home.file,
        "name": home.name,
        "digest": home.digest,
        "folder": _working_folder(),
        **request,
    }
    if home.digest not in host.known:
        message["sources"] = {path: content.decode("latin-1") for path, content in home.sources.items()}
        host.known.add(home.digest)
    host.connection.settimeout(_LOAD_SECONDS)
    write_frame(host.connection, message, [held])
    answer = read_frame(host.connection, _LOAD_SECONDS)
    return read_frame(host.connection, seconds) if answer is not None and "ready" in answer else answer


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise EOFError
        found += part
    return found


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"


def _abandoned(host: _Host) -> Parked | None:
    return Parked("interrupted", "the run was set aside while a tool was at work") if host.abandoned else None


# The keeper belongs to the process and not to a run, so this is its place; `Runner.close` closes it.
_hosts = ToolHosts()
warm, abandon, close = _hosts.warm, _hosts.abandon, _hosts.close
atexit.register(close)


def call_tool(run_id: str, tool: Tool, arguments: dict[str, Any], context: ToolContext, seconds: float) -> str:
    """Call a tool, in a host where it may. Raises: FunctionFailed, Parked."""
    if tool.home is None:
        _check_domains(tool, context)
        return _told(run_id, lambda: call_here(lambda: tool.call(arguments, context), seconds, tool.name))
    home = tool.home
    return _told(run_id, lambda: _in_host(run_id, tool, home, "call", arguments, context, seconds))


def prepare_tool(run_id: str, tool: Tool, context: ToolContext) -> None:
    """Have the process that will run a tool started, with the tool loaded, so that a call of it begins at once.

    What keeps it from being loaded is told by the call itself. Raises: Parked.
    """
    if tool.home is not None:
        with contextlib.suppress(FunctionFailed):
            _in_host(run_id, tool, tool.home, "load", {}, context, _LOAD_SECONDS)


def _told(run_id: str, work: Callable[[], Any]) -> Any:
    """Return what a function of the project's says, without secrets. Raises: FunctionFailed without them, Parked."""
    hide = redaction.redactor_of(run_id).text
    try:
        found = work()
    except FunctionFailed as error:
        raise FunctionFailed(error.kind, hide(str(error))) from None
    return hide(clean(found)) if isinstance(found, str) else found


def _check_domains(tool: Tool, context: ToolContext) -> None:
    """Refuse a tool that nothing could keep to its domains: it would run among Muster's own connections."""
    if context.domains is not None and not tool.builtin:
        what = "policy.yaml names its domains, and only a tool in a process of its own can be kept to them"
        raise FunctionFailed("PermissionError", f"{what}: it was not called")


def probe_tool(run_id: str, tool: Tool, arguments: dict[str, Any], context: ToolContext, seconds: float) -> str | None:
    """Ask a tool's probe what a call returned; None: it did not happen. Raises: FunctionFailed, Parked."""
    probe = tool.probe
    assert probe is not None
    if tool.home is None:
        _check_domains(tool, context)
        return _told(run_id, lambda: call_here(lambda: probe(arguments, context), seconds, tool.name))
    home = tool.home
    return _told(run_id, lambda: _in_host(run_id, tool, home, "probe", arguments, context, seconds))


def undo_tool(run_id: str, tool: Tool, arguments: dict[str, Any], result: str, context: ToolContext) -> str:
    """Take a call back; return what its undo says. Raises: FunctionFailed, Parked."""
    undo, limit = tool.undo, tool.timeout_seconds
    assert undo is not None
    if tool.home is None:
        _check_domains(tool, context)
        return _told(run_id, lambda: call_here(lambda: undo(arguments, result, context), limit, tool.name))
    home = tool.home
    return _told(run_id, lambda: _in_host(run_id, tool, home, "undo", arguments, context, limit, result=result))


def call_guardrail(run: RunState, name: str, text: str) -> list[str]:
    """Ask a user's check what is wrong with a text, within 60 s; a check that fails or takes longer refuses it.

    Raises: Parked when the run is set aside meanwhile.
    """
    check: Callable[[str], Any] = run.guardrails[name]
    home = home_of(check)
    try:
        said = _told(run.run_id, lambda: _checked(run, name, check, home, text))
    except FunctionFailed as error:
        told = str(error) if error.ended else f"{error.kind}: {clean(str(error))[:300]}"
        return [f"the guardrail {name} failed: {told}"]
    if said is None or said is True or said == "":
        return []
    return [clean(str(said))[:_MOST_CHARACTERS] if said is not False else f"the guardrail {name} refused the text"]


def _checked(run: RunState, name: str, check: Callable[[str], Any], home: Home | None, text: str) -> Any:
    if home is None:
        said = call_here(lambda: check(text), GUARDRAIL_SECONDS, name)
    else:
        said = _hosts.call(run.run_id, run.folder, run.project, home, "guardrail", GUARDRAIL_SECONDS, text=text)
    return said if said is None or isinstance(said, bool) else str(said)


def call_here(work: Callable[[], Any], seconds: float, name: str) -> Any:
    """Run `work` in a thread and wait so long; where it takes longer, it is left alone. Raises: FunctionFailed."""
    box: dict[str, Any] = {}

    def run() -> None:
        try:
            box["result"] = work()
        except (Exception, SystemExit) as error:  # a function's error is data
            box["error"] = FunctionFailed(type(error).__name__, str(error))

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True, name=name)
    thread.start()
    thread.join(seconds)
    if "error" in box:
        raise box["error"]
    if "result" not in box:
        raise FunctionFailed("timeout", f"no result within {seconds:g} s")
    return box["result"]


def _in_host(
    run_id: str,
    tool: Tool,
    home: Home,
    act: Act,
    arguments: dict[str, Any],
    context: ToolContext,
    seconds: float,
    **more: str,
) -> Any:
    told = {
        "project": str(context.project),
        "output_folder": str(context.output_folder),
        "inputs": dict(context.inputs),
        "idempotency_key": context.idempotency_key,
        "secrets": dict(context.secrets),
        "domains": context.domains,
        "private_addresses": context.private_addresses,
    }
    settings, run_folder = dict(tool.settings), context.output_folder.parent
    more_told = {"arguments": arguments, "settings": settings, "context": told, **more}
    return _hosts.call(run_id, run_folder, context.project, home, act, seconds, **more_told)
