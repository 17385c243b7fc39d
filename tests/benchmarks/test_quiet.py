"""The short version of benchmarks/quiet.py, and how it reads what the tracers saw."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.quiet import ROOT, Place, Seen, complaints, read_audit, read_strace

WEB = 'sin_addr=inet_addr("192.0.2.1")}, 16) = 0'
ANSWERS = 'sin_addr=inet_addr("127.0.0.53")}, 16) = 0'


def test_an_offline_run_opens_no_socket_and_writes_only_into_its_project() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "quiet.py"), "--tracer", "audit", "--only", "read-only-home"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (case,) = json.loads(done.stdout.splitlines()[-1])["cases"]
    assert (case["exit_code"], case["connects"], case["lookups"], case["left"]) == (0, [], [], [])
    assert case["writes"] > 0


@pytest.mark.parametrize(
    ("line", "connects", "lookups"),
    [
        (f"7 connect(3<s>, {{sa_family=AF_INET, sin_port=htons(443), {WEB}", {"192.0.2.1:443"}, set[str]()),
        (
            "7 connect(3<socket:[1]>, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), "
            'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28 <unfinished ...>',
            {"2001:db8::1:80"},
            set[str](),
        ),
        (f"7 connect(3<s>, {{sa_family=AF_INET, sin_port=htons(53), {ANSWERS}", set[str](), {"127.0.0.53:53"}),
        (
            f'7 sendto(3<s>, "x", 1, 0, {{sa_family=AF_INET, sin_port=htons(53), {ANSWERS}',
            set[str](),
            {"127.0.0.53:53"},
        ),
        ('7 connect(3<s>, {sa_family=AF_UNIX, sun_path="/run/x"}, 9) = -1 ENOENT', set[str](), set[str]()),
    ],
)
def test_connects_and_dns_are_read_from_strace(line: str, connects: set[str], lookups: set[str]) -> None:
    seen = Seen("any")
    read_strace(line, seen)
    assert (seen.connects, seen.lookups) == (connects, lookups)


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ('7 openat(AT_FDCWD</home/u>, "a/../b", O_WRONLY|O_CREAT, 0600) = 3</home/u/b>', {"/home/u/b"}),
        ('7 openat(AT_FDCWD</home/u>, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 3</etc/hosts>', set[str]()),
        ('7 mkdir("/home/u/.cache", 0700) = -1 EACCES (Permission denied)', {"/home/u/.cache"}),
        ('7 renameat(5</x>, "a", AT_FDCWD</y>, "b") = 0', {"/x/a", "/y/b"}),
    ],
)
def test_writes_are_read_from_strace(line: str, written: set[str]) -> None:
    seen = Seen("any")
    read_strace(line, seen)
    assert seen.writes == written


def test_numeric_addresses_are_no_look_ups() -> None:
    seen = Seen("any")
    read_audit('["lookup", "127.0.0.1"]\n["lookup", "::1"]\n["lookup", "example.com"]', seen)
    assert seen.lookups == {"example.com"}


def test_what_was_not_quiet_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    seen = Seen("any", 1, {"192.0.2.1:443"}, {"example.com"}, {"/etc/x", f"{place.project}/x"}, {"/home/y"})
    assert complaints(seen, place, "") == [
        "exit code 1",
        "connects to 192.0.2.1:443",
        "looks up example.com",
        "writes /etc/x",
        "leaves or removes /home/y",
    ]


def test_a_tracer_that_sees_nothing_is_not_trusted(tmp_path: Path) -> None:
    assert complaints(Seen("any"), Place(tmp_path), "127.0.0.1:1") == [
        "the tracer did not see the connects to 127.0.0.1:1",
        "the tracer did not see what is written in the project",
    ]
