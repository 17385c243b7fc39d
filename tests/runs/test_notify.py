"""Telling people: by a program, a webhook, a mail; a channel that fails is tried again, then given up and named."""

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from project.spec_schedules import ChannelSpec, SmtpSpec
from runs.people.notify import WAITS_SECONDS, Notice, NotTold, Outbox, send_notice
from runs.stored.database import open_sqlite
from runs.stored.tables import make_tables

_DOCUMENT = '{"event": "failed", "schedule": "morning", "text": "Run x failed: größer"}'


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    database = open_sqlite(tmp_path / "muster.db")
    make_tables(database)
    return Outbox(database, "project")


def _put(outbox: Outbox, *channels: str, key: str = "morning/x/failed/1", now: float = 0.0) -> None:
    with outbox._database.begin() as connection:
        outbox.put(connection, Notice(key, {"event": "failed"}), channels, now)


def _send(channel: ChannelSpec, tmp_path: Path, **environ: str) -> None:
    send_notice(channel, _DOCUMENT, {**os.environ, **environ}, tmp_path)


def _script(folder: Path, text: str) -> ChannelSpec:
    path = folder / "tell"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return ChannelSpec(command=["./tell", "a b"], timeout_seconds=1)


# -- the outbox


def test_a_notice_is_sent_once_to_each_channel(outbox: Outbox) -> None:
    spec = ChannelSpec(command=["x"])
    got: list[str] = []
    _put(outbox, "ops", "mail")
    _put(outbox, "ops", "mail")
    for now in (0.0, 1.0, 10_000.0):
        assert outbox.send(now, {"ops": spec, "mail": spec}, lambda _, document: got.append(document)) == []
    assert got == ['{"event": "failed"}'] * 2
    assert [(row["state"], row["attempts"]) for row in outbox.all()] == [("sent", 1), ("sent", 1)]


def test_a_channel_that_fails_is_tried_again_later_and_then_given_up(outbox: Outbox) -> None:
    tried: list[float] = []
    _put(outbox, "ops")

    def fail(_channel: ChannelSpec, _document: str) -> None:
        tried.append(now)
        raise NotTold("no answer")

    lines: list[str] = []
    now = 0.0
    while now < sum(WAITS_SECONDS) + 10:
        lines += outbox.send(now, {"ops": ChannelSpec(command=["x"], timeout_seconds=1)}, fail)
        now += 5.0
    assert tried == [0.0, 10.0, 70.0, 370.0, 2170.0]
    assert lines == ["notify ops: given up after 5 attempts: no answer"]
    [row] = outbox.all()
    assert (row["state"], row["error"]) == ("failed", "no answer")


def test_a_channel_that_fails_does_not_keep_others_from_telling(outbox: Outbox) -> None:
    specs = {"bad": ChannelSpec(command=["bad"]), "good": ChannelSpec(command=["good"])}
    got: list[ChannelSpec] = []
    _put(outbox, "bad", "good")

    def send(channel: ChannelSpec, _document: str) -> None:
        if channel == specs["bad"]:
            raise NotTold("no answer")
        got.append(channel)

    outbox.send(0.0, specs, send)
    assert got == [specs["good"]]
    assert sorted((row["channel"], row["state"]) for row in outbox.all()) == [("bad", "open"), ("good", "sent")]


def test_two_processes_do_not_send_the_same_notice_at_the_same_time(outbox: Outbox) -> None:
    got: list[str] = []
    specs = {"ops": ChannelSpec(command=["x"])}
    _put(outbox, "ops")

    def send(_channel: ChannelSpec, document: str) -> None:
        outbox.send(0.0, specs, lambda _, inner: got.append(f"again {inner}"))
        got.append(document)

    outbox.send(0.0, specs, send)
    assert got == ['{"event": "failed"}']


def test_what_a_process_that_died_was_sending_is_sent_again(outbox: Outbox) -> None:
    got: list[str] = []
    specs = {"ops": ChannelSpec(command=["x"])}
    _put(outbox, "ops")

    def die(_channel: ChannelSpec, _document: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outbox.send(0.0, specs, die)
    outbox.send(100.0, specs, lambda _, document: got.append(document))
    assert got == ['{"event": "failed"}']


def test_a_channel_that_is_gone_from_the_file_is_named(outbox: Outbox) -> None:
    _put(outbox, "ops")
    lines: list[str] = []
    for now in range(0, 3000, 10):
        lines += outbox.send(float(now), {}, lambda _, document: None)
    assert lines == ["notify ops: given up after 5 attempts: schedules.yaml does not describe it any more"]


# -- programs


def test_a_program_gets_the_document_on_stdin_in_the_project_folder(tmp_path: Path) -> None:
    channel = _script(tmp_path, 'cat > "$1.json"; pwd > where; echo "$TOKEN" > token')
    _send(channel, tmp_path, TOKEN="t")
    assert (tmp_path / "a b.json").read_text() == _DOCUMENT
    assert (tmp_path / "where").read_text().strip() == str(tmp_path)
    assert (tmp_path / "token").read_text() == "t\n"


def test_a_program_that_reads_nothing_is_told_all_the_same(tmp_path: Path) -> None:
    _send(_script(tmp_path, "touch called"), tmp_path)
    assert (tmp_path / "called").exists()


def test_a_program_that_fails_is_named_with_what_it_said_last(tmp_path: Path) -> None:
    with pytest.raises(NotTold, match=r"^\./tell ended with 3: no route$"):
        _send(_script(tmp_path, "echo trying >&2; echo no route >&2; exit 3"), tmp_path)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotTold, match=r"^\./tell can't be started: No such file or directory$"):
        _send(ChannelSpec(command=["./tell"]), tmp_path)


def test_a_program_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    channel = _script(tmp_path, "sleep 60 & echo $! > child; wait")
    with pytest.raises(NotTold, match=r"^\./tell took longer than 1 s$"):
        _send(channel, tmp_path)
    child = int((tmp_path / "child").read_text())
    while _lives(child):  # until the kernel has taken it away
        pass


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# -- webhooks


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = cast(Any, self.server)
        length = int(self.headers["Content-Length"])
        server.got.append((self.path, self.headers["Content-Type"], self.rfile.read(length).decode()))
        self.send_response(server.answer)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _serve(server: socketserver.BaseServer) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hook() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), _Hook)
    server.got, server.answer = [], 204
    yield from _serve(server)


def test_a_webhook_gets_the_document(hook: Any, tmp_path: Path) -> None:
    _send(ChannelSpec(webhook=f"http://127.0.0.1:{hook.server_port}/muster"), tmp_path)
    assert hook.got == [("/muster", "application/json", _DOCUMENT)]


def test_the_address_of_a_webhook_may_be_secret(hook: Any, tmp_path: Path) -> None:
    channel = ChannelSpec(webhook_env="OPS_URL")
    _send(channel, tmp_path, OPS_URL=f"http://127.0.0.1:{hook.server_port}/secret")
    assert hook.got[0][0] == "/secret"
    with pytest.raises(NotTold, match=r"^the environment variable OPS_URL is not set$"):
        _send(channel, tmp_path, OPS_URL="")


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_a_webhook_that_answers_otherwise_was_not_told(answer: int, hook: Any, tmp_path: Path) -> None:
    hook.answer = answer
    with pytest.raises(NotTold, match=f"^the webhook answered {answer}$"):
        _send(ChannelSpec(webhook=f"http://127.0.0.1:{hook.server_port}/"), tmp_path)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/secret", "http://[secret/", "secret"])
def test_a_webhook_that_does_not_answer_is_told_of_without_its_address(address: str, tmp_path: Path) -> None:
    with pytest.raises(NotTold, match=r"^the webhook does not answer") as found:
        _send(ChannelSpec(webhook_env="OPS_URL"), tmp_path, OPS_URL=address)
    assert "secret" not in str(found.value)


# -- mail


class _Mail(socketserver.StreamRequestHandler):
    """The little of SMTP that a client needs."""

    def handle(self) -> None:
        server = cast(Any, self.server)
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            word = line.split(" ")[0].upper()
            server.got.append(line)
            if word == "DATA":
                self._say("354 go on")
                while (text := self.rfile.readline().decode()) != ".\r\n":
                    server.mail += text
            self._say(
                {"EHLO": "250-here\r\n250 AUTH PLAIN", "QUIT": "221 bye", "RCPT": server.answer}.get(word, "250 ok")
            )
            if word == "AUTH":
                server.got[-1] = "AUTH"
            if word == "QUIT":
                return

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def post() -> Iterator[Any]:
    server: Any = socketserver.TCPServer(("127.0.0.1", 0), _Mail)
    server.got, server.mail, server.answer = [], "", "250 ok"
    yield from _serve(server)


def _mail(port: int, **more: Any) -> ChannelSpec:
    spec = {"host": "127.0.0.1", "port": port, "from": "muster@here", "to": ["ops@here", "ann@here"], **more}
    return ChannelSpec(smtp=SmtpSpec.model_validate(spec))


def test_a_mail_tells_it_in_words_and_as_json(post: Any, tmp_path: Path) -> None:
    _send(_mail(post.server_address[1]), tmp_path)
    assert [line.split(" size")[0] for line in post.got if line[:4] in ("mail", "rcpt")] == [
        "mail FROM:<muster@here>",
        "rcpt TO:<ops@here>",
        "rcpt TO:<ann@here>",
    ]
    assert "Subject: Muster: morning failed" in post.mail
    assert "To: ops@here, ann@here" in post.mail
    assert not [line for line in post.got if line.startswith("AUTH")]


def test_a_password_comes_from_the_environment(post: Any, tmp_path: Path) -> None:
    channel = _mail(post.server_address[1], user_env="MAIL_USER", password_env="MAIL_PASSWORD")
    with pytest.raises(NotTold, match=r"^the environment variable MAIL_PASSWORD is not set$"):
        _send(channel, tmp_path, MAIL_USER="ann")


def test_a_mail_server_that_refuses_was_not_told(post: Any, tmp_path: Path) -> None:
    post.answer = "550 nobody here"
    with pytest.raises(NotTold, match=r"did not take it \(SMTPRecipientsRefused\)$"):
        _send(_mail(post.server_address[1]), tmp_path)


def test_a_mail_server_that_is_not_there_was_not_told(tmp_path: Path) -> None:
    with pytest.raises(NotTold, match=r"^the mail server 127.0.0.1:1 did not take it \(ConnectionRefusedError\)$"):
        _send(_mail(1), tmp_path)


def test_the_document_is_one_line_of_json(outbox: Outbox) -> None:
    _put(outbox, "ops")
    [row] = outbox.all()
    assert json.loads(row["document"]) == {"event": "failed"}
    assert "\n" not in row["document"]
