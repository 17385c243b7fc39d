"""500 canary secrets, planted wherever secrets come from: how many are found in anything that was written or printed?

    python -m benchmarks.canaries [--secrets 500] [--words 100]

Then the same with words of private results under `MUSTER_JOURNAL_KEY`. Real processes, one of them killed in the middle
of a call; then every byte of the state folder, of what was delivered, of notices and exports and of what the commands
printed is searched, also for the base64 and URL-quoted forms. And both once more without redaction and encryption: the
search must find canaries of every kind there. Prints one JSON line a part; exit 1 when one canary is found, or the
search was seen to be blind.
"""

import argparse
import base64
import json
import random
import string
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from benchmarks.canary_scenes import (
    EchoServer,
    Scene,
    Webhook,
    model_that_says,
    tell_on,
    write_private_project,
    write_secret_project,
)
from tests.farm import Farm
from tests.scripted_server import ScriptedServer

_KINDS = ("environment", "dotenv", "undeclared", "result", "document", "input", "model", "key", "error", "private-key")
_LETTERS = string.ascii_letters + string.digits
_FEW = 40
"""Canaries of the control."""
_PUNCTUATION = "$/+_-%&\"'ß"


@dataclass(frozen=True)
class Canaries:
    """What came of one part."""

    part: str
    planted: int
    runs: Mapping[str, int]
    """Exit code by run."""
    searched_bytes: int
    found: Sequence[str]
    """Kind and place of each canary that was found."""
    redactions: int
    """Places in the journal at which something was taken out, or sealed: that the search had something to search."""
    kinds: Mapping[str, int]
    """How many canaries of each kind were found."""
    notices: int
    """Notices that channels were given."""
    control: bool = False


def make_canary(chance: random.Random, kind: str) -> str:
    """Return one secret; those of kinds whose value nobody could know are shaped as a key is."""

    def some(length: int, letters: str = _LETTERS) -> str:
        return "".join(chance.choice(letters) for _ in range(length))

    if kind in ("environment", "dotenv", "undeclared", "key"):
        return f"{some(12)}{chance.randint(0, 9)}{chance.choice(_PUNCTUATION if kind != 'key' else '-')}{some(14)}"
    if kind == "private-key":
        return f"-----BEGIN PRIVATE KEY-----\n{some(64)}\n{some(40)}\n-----END PRIVATE KEY-----"
    shapes = (
        f"sk-proj-{some(10)}4{some(14)}",
        f"ghp_{some(36)}",
        f"AKIA{some(16, string.ascii_uppercase + string.digits)}",
        f"eyJ{some(20)}.eyJ{some(30)}.{some(20)}",
        f"xoxb-{some(12, string.digits)}-{some(24)}",
        f"postgresql://app:{some(6)}7{some(9)}@db.example.org/app",
        f"password={some(8)}3{some(8)}",
        f"Bearer {some(9)}5{some(20)}",
    )
    return chance.choice(shapes)


def core_of(canary: str) -> str:
    """Return the part of a canary that is the secret."""
    for before in ("postgresql://app:", "password=", "Bearer "):
        canary = canary.removeprefix(before)
    if canary.startswith("-----BEGIN"):
        return canary.splitlines()[1]
    return canary.partition("@")[0]


def forms_of(canary: str) -> list[bytes]:
    """Return what is searched for: the secret as it is, URL-quoted, as JSON has it, and as the middle of base64."""
    raw = canary.encode()
    texts = [canary, quote(canary, safe=""), json.dumps(canary)[1:-1]]
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw).decode()
        texts.append(encoded[4:-4])
    return [text.encode() for text in dict.fromkeys(texts)]


def found_in(blobs: Iterable[bytes], canaries: Iterable[str]) -> list[str]:
    """Return the canaries of which a form stands in one of these contents."""
    whole = b"\n".join(blobs)
    return [canary for canary in canaries if any(form in whole for form in forms_of(core_of(canary)))]


def run_canaries(
    root: Path, secrets: int = 500, seed: int = 1, *, control: bool = False, briefly: bool = False
) -> Canaries:
    """Plant secrets in a project under `root`, run it in every way, and search for them.

    `control`: nothing takes them out. `briefly`: fewer commands are looked at.
    """
    chance = random.Random(seed)
    planted = {kind: [make_canary(chance, kind) for _ in range(max(1, secrets // len(_KINDS)))] for kind in _KINDS}
    with Farm() as farm, model_that_says(planted["model"]) as model, Webhook() as hook:
        scene = Scene(root, farm, hook, control, briefly)
        write_secret_project(scene, planted, model.base_url)
        environment = {f"CANARY_{n}_TOKEN": value for n, value in enumerate(planted["environment"])}
        environment |= {f"UNDECLARED_{n}_PASSWORD": value for n, value in enumerate(planted["undeclared"])}
        environment |= {f"PROVIDER_{n}_API_KEY": value for n, value in enumerate(planted["key"])}
        scene.environment = environment
        _run_all(scene, planted)
        scene.notices("refused")
        _refused_calls(scene, planted)
        scene.look()
        _wrong_commands(scene, planted)
    return _report(scene, "secrets", {kind: list(values) for kind, values in planted.items()}, b"[redacted]")


def run_private(
    root: Path, words: int = 100, seed: int = 2, *, control: bool = False, briefly: bool = False
) -> Canaries:
    """Have a private tool return words under a journal's key, and search for them. `control` as above."""
    chance = random.Random(seed)
    planted = ["".join(chance.choice(string.ascii_lowercase) for _ in range(14)) for _ in range(words)]
    with Farm() as farm, ScriptedServer(tell_on) as model, Webhook() as hook:
        scene = Scene(root, farm, hook, control, briefly)
        scene.environment = {"MUSTER_JOURNAL_KEY": "".join(chance.choice(_LETTERS) for _ in range(43))}
        write_private_project(scene, planted, model.base_url)
        for crew in ("told", "large", "waits"):
            scene.run(crew, "run", crew, "--id", crew)
        scene.crash("crashes")
        del scene.printed[:]  # what a run prints is its result, which is for who started it
        scene.notices("told")
        scene.look(results=False)
    return _report(scene, "private content", {"word": planted}, b"muster-sealed:1:")


def _run_all(scene: Scene, planted: Mapping[str, Sequence[str]]) -> None:
    for crew in ("reads", "fails", "documents", "waits", "refused"):
        scene.run(crew, "run", crew, "--id", crew, "-v")
    told = " ".join([*planted["input"], *planted["undeclared"]])
    scene.run("inputs", "run", "inputs", "--id", "inputs", "-i", f"word={told}", "--json")
    scene.crash("crashes")


def _refused_calls(scene: Scene, planted: Mapping[str, Sequence[str]]) -> None:
    """Have a provider refuse calls with the key, and with other secrets, in its words."""
    for number, key in enumerate(planted["key"]):
        if number >= 3 and number < len(planted["key"]) - 1:
            continue
        scene.environment["OPENAI_API_KEY"] = key
        said = " ".join([planted["error"][number % len(planted["error"])], *planted["key"][number:]])
        with EchoServer((401, 400, 500)[number % 3], said) as server:
            scene.models({"default": {"model": "openai/scripted", "base_url": server.base_url, "max_attempts": 1}})
            scene.run(f"refused-{number}", "run", "inputs", "--id", f"refused-{number}", "-i", "word=x", "-v")


def _wrong_commands(scene: Scene, planted: Mapping[str, Sequence[str]]) -> None:
    """Do what ends with an error or a traceback, with secrets where they may come from."""
    secret, shaped = planted["environment"][0], planted["private-key"][0]
    scene.look_at("runs", "show", secret)
    scene.look_at("--debug", "run", secret)
    scene.look_at("run", "inputs", "--id", "debug", "-i", f"word={secret}", "-i", f"wrong={secret}", "--debug")
    scene.look_at("audit", "verify", secret)
    scene.text("tools/wrong.py", f"import os\nraise RuntimeError(os.environ['CANARY_1_TOKEN'] + {shaped!r})\n")
    for command in ("check", "doctor"):
        scene.look_at("--debug", command)
    scene.look_at("--debug", "run", "reads", "--id", "wrong-tool")
    scene.text("config/agents.yaml", json.dumps({"reads_agent": {secret: shaped, "role": 1, "llm": secret}}))
    for command in (("check",), ("plan", "reads"), ("run", "reads"), ("agents",)):
        scene.look_at("--debug", *command)


def _report(scene: Scene, part: str, planted: Mapping[str, Sequence[str]], mark: bytes) -> Canaries:
    """Search everything that was written or printed."""
    blobs = scene.written()
    found: list[str] = []
    kinds = {kind: set[str]() for kind in planted}
    for place, content in blobs.items():
        for kind, canaries in planted.items():
            there = found_in([content], canaries)
            kinds[kind].update(there)
            found += [f"{kind} in {place}: {canary[:60]!r}" for canary in there]
    journal = blobs[".muster/muster.db"] + blobs.get(".muster/muster.db-wal", b"")
    whole = sum(len(content) for content in blobs.values())
    count = sum(len(canaries) for canaries in planted.values())
    counted = {kind: len(there) for kind, there in kinds.items()}
    hidden = journal.count(mark)
    return Canaries(part, count, scene.codes, whole, found, hidden, counted, scene.noticed(), scene.control)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secrets", type=int, default=500)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="muster-canaries-") as folder:
        parts = (
            lambda: run_canaries(Path(folder, "secrets"), given.secrets, given.seed),
            lambda: run_private(Path(folder, "private"), given.words, given.seed + 1),
            lambda: run_canaries(Path(folder, "secrets-control"), _FEW, given.seed, control=True),
            lambda: run_private(Path(folder, "private-control"), _FEW // 2, given.seed + 1, control=True),
        )
        for part in parts:
            came = part()
            blind = not came.notices or not (all(came.kinds.values()) if came.control else came.redactions)
            bad += blind or (bool(came.found) and not came.control)
            told = {**vars(came), "found": len(came.found), "where": list(came.found)[:20]}
            print(json.dumps(told, ensure_ascii=False), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
