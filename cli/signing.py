"""What a command changed of a run is signed at once, where the audit trail has a key: no process of the run does it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cli.output import say
from cli.session import Session
from project.errors import AppError

if TYPE_CHECKING:
    import sqlalchemy as sa


def sign_change(here: Session, database: "sa.Engine", run_id: str, note: Mapping[str, Any] | None = None) -> None:
    """Sign a run that a command has just changed from outside; `note` says who did what, for `muster audit verify`.

    What was changed stands, whether it can be signed or not. A run under way is signed by its process when it ends.
    """
    settings = here.settings()
    if not settings.audit_keys:
        return
    from runs.audit.heads import open_audit

    audit = open_audit(database, settings)
    assert audit is not None
    try:
        audit.append_at_rest(run_id, note)
    except AppError as error:  # without the key of the journal what it says cannot be hashed
        say(f"warning: the change of run {run_id} is not signed: {error}")
