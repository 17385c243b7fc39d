import json

from muster import ToolContext, tool


@tool(effect="write", repeat="keyed", returns="trusted", timeout_seconds=10)
def log_entry(text: str, context: ToolContext) -> str:
    """Enter one line in the log of the project. Returns what was entered.

    Args:
        text: What was found, in one sentence.
    """
    path = context.project / "output" / "log.jsonl"
    path.parent.mkdir(exist_ok=True)
    known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    # After a crash the same call comes again, with the same key: then its line is there already.
    if not any(json.loads(line)["key"] == context.idempotency_key for line in known):
        with path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"key": context.idempotency_key, "text": text}, ensure_ascii=False) + "\n")
    return f"entered: {text}"
