"""A person answers for what `verify` has found of a run: signed, with their name and why, and told ever after."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from project.errors import AppError
from runs.audit.compare import Finding
from runs.audit.heads import ACCEPT, Audit, AuditKeys
from runs.audit.verify import Verifier


def accept(
    database: sa.Engine, folder: Path, keys: AuditKeys | None, run_id: str, *, by: str, why: str
) -> Sequence[Finding]:
    """Sign the run as it stands, with all that differs in it from what was signed before; return that.

    Raises: AppError without a key (exit 3), for a run under way, and where nothing is found.
    """
    if keys is None:
        what = "what is accepted is signed, and MUSTER_AUDIT_KEY is not set"
        raise AppError(what, fix="put it into .env as it was when the heads were signed", exit_code=3)
    found = Verifier(database, folder, keys).of_run(run_id)
    if not found:
        fix = "`muster audit verify` tells all; what is wrong with the trail itself, or with a run that is gone, stays"
        raise AppError(f"nothing is found of run {run_id} that could be accepted", fix=fix)
    note = {"edit": ACCEPT, "by": by, "why": why, "findings": [[one.lane, one.step, one.what] for one in found]}
    if not Audit(database, keys).append_at_rest(run_id, note):
        raise AppError(f"run {run_id} is under way", fix="accept what is found of it when it has ended")
    return found
