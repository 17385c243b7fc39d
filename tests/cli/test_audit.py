"""`muster audit` from the command line: what is printed and written, and with which exit code."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.scene import database, tool_file, write_project
from tests.scripted_server import ScriptedServer

KEY = "a key of sixteen bytes or more"
RUN = ("run", "default", "--id")


@pytest.fixture
def ran(lab: Lab, muster: Muster, server: ScriptedServer) -> Lab:
    """A project with the key in its .env, and a run `one` that wrote a note."""
    lab.write(tools__note_py=tool_file('return f"noted {text}"'))
    write_project(lab, {"work": '@call note {"text": "a"}\n@echo'}, {"tools": ["note"]})
    lab.models(server.base_url)
    (lab.root / ".env").write_text(f"MUSTER_AUDIT_KEY='{KEY}'\n")
    assert muster(*RUN, "one").code == 0
    return lab


def change(lab: Lab, statement: str) -> None:
    journal = database(lab)
    assert journal.execute(statement).rowcount == 1
    journal.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_nothing_was_changed_and_then_something_is(ran: Lab, muster: Muster) -> None:
    fine = muster("audit", "verify")
    assert (fine.code, fine.out) == (0, "nothing was changed: 1 runs, 4 steps, 0 deleted runs\n")
    assert muster("audit", "heads", "-o", "heads.jsonl").code == 0
    assert muster("audit", "verify", "heads.jsonl").code == 0
    change(ran, "update operation_outputs set completed_at_epoch_ms = 1 where function_name = 'work/worker/note#1'")
    found = muster("audit", "verify")
    assert found.code == 1
    assert found.out.splitlines()[:2] == [
        "RUN  LANE  STEP  WHAT",
        "one  work  2     the step work/worker/note#1 was changed",
    ]
    told = json.loads(muster("audit", "verify", "heads.jsonl", "--json").out)
    assert (told["verified"], len(told["findings"])) == (False, 1)
    assert told["findings"][0] == {
        "run_id": "one",
        "lane": "work",
        "step": 2,
        "what": "the step work/worker/note#1 was changed",
        "problem": True,
    }


def test_an_export_tells_each_step_with_its_hash(ran: Lab, muster: Muster) -> None:
    assert muster("audit", "export", "one", "-o", "one.jsonl").err.endswith("lines written to one.jsonl\n")
    found = lines(ran.root / "one.jsonl")
    kinds = [line["line"] for line in found]
    assert (kinds[0], kinds[1], kinds[-2], kinds[-1]) == ("muster-audit", "run", "head", "end")
    (note,) = [line for line in found if line.get("name") == "work/worker/note#1"]
    assert (note["number"], note["lane"], len(note["row"]), len(note["chain"])) == (2, "work", 64, 64)
    assert note["record"]["principal"]["agent"] == "worker"
    assert found[1]["origin"]["by"]
    assert "plan_text" not in found[1]
    assert (ran.root / "one.jsonl").stat().st_mode & 0o777 == 0o600
    printed = muster("audit", "export", "--since", "2020-01-01", "--full").out
    assert "plan_text" in json.loads(printed.splitlines()[1])
    assert muster("audit", "export", "--since", "2999-01-01").out.count("\n") == 2
    assert muster("audit", "verify", "one.jsonl").code == 0


def test_a_deleted_run_is_told_and_one_that_is_just_gone_is_found(ran: Lab, muster: Muster) -> None:
    assert muster("audit", "heads", "-o", "heads.jsonl").code == 0
    assert muster("runs", "delete", "one").code == 0
    fine = muster("audit", "verify", "heads.jsonl")
    assert (fine.code, fine.out) == (0, "nothing was changed: 0 runs, 0 steps, 1 deleted runs\n")
    change(ran, "delete from muster_tombstones")
    found = muster("audit", "verify", "heads.jsonl")
    assert (found.code, found.out.splitlines()[1]) == (1, "one  –     –     the run was removed without a tombstone")


def test_a_report_says_who_is_answerable(ran: Lab, muster: Muster) -> None:
    found = muster("audit", "report", "one")
    assert found.code == 0
    assert "calls    1 with an effect or refused: 0 approved, 0 refused\n" in found.out
    assert "work/worker/note#1  note  write   worker  " in found.out
    assert found.err == "hint: `muster blame TASK --run one` tells which sentence of the result rests on which source\n"
    told = json.loads(muster("audit", "report", "one", "--json").out)
    assert [(call["step"], call["effect"]) for call in told["calls"]] == [("work/worker/note#1", "write")]


def test_a_run_shows_its_head(ran: Lab, muster: Muster) -> None:
    (line,) = [line for line in muster("runs", "show", "one").out.splitlines() if line.startswith("audit")]
    told = json.loads(muster("runs", "show", "one", "--json").out)["audit"]
    assert line == f"audit    head {told['head'][:12]}, signed {told['signed_at']}"
    assert (told["approved"], told["refused"]) == (0, 0)


def test_without_a_key_nothing_is_signed_and_the_way_to_one_is_said(ran: Lab, muster: Muster) -> None:
    (ran.root / ".env").unlink()
    refused = muster("audit", "verify")
    assert (refused.code, refused.out) == (3, "")
    assert "MUSTER_AUDIT_KEY is not set" in refused.err
    assert "this is not signed" in muster("audit", "heads", "-o", "heads.jsonl").err
    assert muster("audit", "verify", "heads.jsonl").code == 0
    (ran.root / ".env").write_text("MUSTER_AUDIT_KEY=short\n")
    assert muster("audit", "verify").code == 3
    assert muster("audit", "export").code == 2
    (ran.root / "other").write_text("{}\n")
    (ran.root / ".env").write_text(f"MUSTER_AUDIT_KEY='{KEY}'\n")
    assert muster("audit", "verify", "other").code == 3
    assert muster("audit", "verify", "none").code == 2


def test_a_key_is_random_and_long_enough(muster: Muster) -> None:
    one, other = (muster("audit", "new-key").out.strip() for _ in range(2))
    assert one != other
    assert len(base64.urlsafe_b64decode(one)) == 32
