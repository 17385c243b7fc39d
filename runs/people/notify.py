"""Telling people: notices wait in the database until a channel has taken them, at least once and over any process."""

import contextlib
import json
import os
import signal
import smtplib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from project.spec_schedules import ChannelSpec, MailSpec
from runs.governed.redaction import redactor_of
from runs.stored.tables import NOTICES, insert_new

WAITS_SECONDS = (10.0, 60.0, 300.0, 1800.0)
"""Between the attempts to tell; one more attempt than waits."""
_AT_ONCE = 20
_MAIL_TLS_PORT = 465
_LONGEST_ERROR = 300


class NotTold(Exception):
    """A channel did not take a notice. Its text says why, without an address or a secret."""


@dataclass(frozen=True)
class Notice:
    """Something to tell. `key` is the same whenever the same thing is to be told."""

    key: str
    document: Mapping[str, Any]


class Outbox:
    """The notices of one project."""

    def __init__(self, database: sa.Engine, project: str) -> None:
        self._database, self._project = database, project

    def put(self, connection: sa.Connection, notice: Notice, channels: Sequence[str], now: float) -> None:
        """Store the notice for each channel, in the caller's transaction; what is stored already stays as it is."""
        for channel in channels:
            row = {
                "notice_id": f"{self._project}/{notice.key}/{channel}",
                "project": self._project,
                "channel": channel,
                "document": json.dumps(dict(notice.document), ensure_ascii=False),
                "made_at": now,
                "state": "open",
                "attempts": 0,
                "next_at": now,
                "error": "",
            }
            insert_new(connection, NOTICES, row)

    def send(
        self, now: float, channels: Mapping[str, ChannelSpec], send: Callable[[ChannelSpec, str], None]
    ) -> list[str]:
        """Send what is due; return a line for each notice that is given up.

        A notice whose process dies while it is sent is sent again: a channel may get it twice, never not at all.
        """
        lines: list[str] = []
        for row in self._due(now):
            attempts: int = row.attempts + 1
            last = attempts > len(WAITS_SECONDS)
            wait = WAITS_SECONDS[min(attempts, len(WAITS_SECONDS)) - 1]
            spec = channels.get(row.channel)
            again = now + max(wait, spec.timeout_seconds * 2 if spec else 0.0)
            if not self._change(row.notice_id, row.attempts, {"attempts": attempts, "next_at": again}):
                continue  # another process sends it
            try:
                if spec is None:
                    raise NotTold("schedules.yaml does not describe it any more")
                send(spec, row.document)
            except Exception as error:  # whatever is wrong with a channel: the others are told, and this one again
                known = isinstance(error, NotTold)
                # A script that failed may have printed the key that it was to use.
                said = redactor_of("").text(str(error))[:_LONGEST_ERROR]
                why = said if known else f"unexpected {type(error).__name__}"
                self._change(row.notice_id, attempts, {"error": why, "state": "failed" if last else "open"})
                if last:
                    lines.append(f"notify {row.channel}: given up after {attempts} attempts: {why}")
            else:
                self._change(row.notice_id, attempts, {"error": "", "state": "sent"})
        return lines

    def all(self) -> list[Mapping[str, Any]]:
        """Return every notice, oldest first."""
        query = sa.select(NOTICES).where(NOTICES.c.project == self._project)
        with self._database.connect() as connection:
            rows = connection.execute(query.order_by(NOTICES.c.made_at, NOTICES.c.notice_id)).mappings()
            return [dict(row) for row in rows]

    def _due(self, now: float) -> Sequence[Any]:
        query = sa.select(NOTICES).where(
            NOTICES.c.project == self._project, NOTICES.c.state == "open", NOTICES.c.next_at <= now
        )
        with self._database.connect() as connection:
            return connection.execute(query.order_by(NOTICES.c.made_at).limit(_AT_ONCE)).all()

    def _change(self, notice_id: str, attempts: int, values: Mapping[str, Any]) -> bool:
        mine = (NOTICES.c.notice_id == notice_id, NOTICES.c.attempts == attempts, NOTICES.c.state == "open")
        with self._database.begin() as connection:
            return connection.execute(NOTICES.update().where(*mine).values(dict(values))).rowcount == 1


def send_due(
    database: sa.Engine, root: Path, channels: Mapping[str, ChannelSpec], environ: Mapping[str, str], now: float
) -> list[str]:
    """Send what is due of the project in the folder `root`; return a line for each notice that is given up."""
    outbox = Outbox(database, root.name)
    return outbox.send(now, channels, lambda channel, document: send_notice(channel, document, environ, root))


def send_notice(channel: ChannelSpec, document: str, environ: Mapping[str, str], root: Path) -> None:
    """Hand a JSON document to a channel. Raises: NotTold."""
    if channel.command:
        _run(channel.command, document, environ, root, channel.timeout_seconds)
    elif channel.smtp is not None:
        _mail(channel.smtp, document, environ, channel.timeout_seconds)
    else:
        address = _variable(channel.webhook_env, environ) if channel.webhook_env else channel.webhook
        _post(address or "", document, channel.timeout_seconds)


def _run(command: Sequence[str], document: str, environ: Mapping[str, str], root: Path, seconds: float) -> None:
    try:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that what it started ends with it
        )
    except OSError as error:
        raise NotTold(f"{command[0]} can't be started: {error.strerror or error}") from error
    try:
        _, said = process.communicate(document.encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise NotTold(f"{command[0]} took longer than {seconds:g} s") from None
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or [""]
        raise NotTold(f"{command[0]} ended with {process.returncode}" + (f": {last[0]}" if last[0] else ""))


def _post(address: str, document: str, seconds: float) -> None:
    headers = {"Content-Type": "application/json"}
    try:
        response = httpx.post(address, content=document.encode(), headers=headers, timeout=seconds)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotTold(f"the webhook does not answer ({type(error).__name__})") from None  # its text has the address
    if not response.is_success:
        raise NotTold(f"the webhook answered {response.status_code}")


def _mail(mail: MailSpec, document: str, environ: Mapping[str, str], seconds: float) -> None:
    told = json.loads(document)
    message = EmailMessage()
    message["From"], message["To"] = mail.sender, ", ".join(mail.to)
    about = told.get("schedule") or told.get("run_id", "")
    message["Subject"] = f"Muster: {about} {told.get('event', '')}"
    message.set_content(f"{told.get('text', '')}\n\n{json.dumps(told, ensure_ascii=False, indent=2)}\n")
    kind = smtplib.SMTP_SSL if mail.port == _MAIL_TLS_PORT else smtplib.SMTP
    try:
        with kind(mail.host, mail.port, timeout=seconds) as server:
            if mail.starttls:
                server.starttls()
            if mail.user_env:
                password = _variable(mail.password_env, environ) if mail.password_env else ""
                server.login(_variable(mail.user_env, environ), password)
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise NotTold(f"the mail server {mail.host}:{mail.port} did not take it ({type(error).__name__})") from None


def _variable(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name, "")
    if not value:
        raise NotTold(f"the environment variable {name} is not set")
    return value
