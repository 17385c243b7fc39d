"""How many sentences that claim a call nobody made the rule `claimed_calls` catches, and how often it is wrong.

    python -m benchmarks.claims [--show]

`claims_blind.yaml` was written by somebody who had not read the rule; both its halves were looked at since. The rule
was mended by `claims_seen.yaml`, too. `claims_fresh.yaml` was judged once, after that: its head has the figure, and
why it flatters. Prints one JSON object last; exit 1 when a sentence of half `a` is judged wrongly.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tasks.evidence import Evidence
from tasks.guardrails import check_rule

FILES = {"a": "claims_blind.yaml", "b": "claims_blind.yaml", "seen": "claims_seen.yaml", "fresh": "claims_fresh.yaml"}
_SHOWN = ("a", "b", "seen")


def read_claims(half: str) -> list[dict[str, Any]]:
    """Return the sentences of one half of the blind ones, `a` or `b`, or those `seen` or `fresh`."""
    text = (Path(__file__).resolve().parent / FILES[half]).read_text(encoding="utf-8")
    return [one for one in yaml.safe_load(text) if one["half"] == half]


def reasons_for(claim: Mapping[str, Any]) -> list[str]:
    """Return what the rule says of a sentence whose agent called what is listed."""
    evidence = [Evidence(f"e{i}", name, "done") for i, name in enumerate(claim["calls"])]
    rule, calls, tools = "claimed_calls", claim["calls"], claim["tools"]
    return check_rule(rule, True, claim["text"], lambda _: None, evidence=evidence, calls=calls, tools=tools)


def main() -> None:
    """Print the figures of all files."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--show", action="store_true", help="what went wrong, but for the fresh ones")
    given = asked.parse_args()
    results: dict[str, dict[str, int]] = {}
    for half in FILES:
        claims = read_claims(half)
        missed = [one["text"] for one in claims if one["made_up"] and not reasons_for(one)]
        alarmed = [one["text"] for one in claims if not one["made_up"] and reasons_for(one)]
        made_up = sum(1 for one in claims if one["made_up"])
        true = len(claims) - made_up
        print(f"{half:6} {made_up - len(missed)} of {made_up} caught, {len(alarmed)} of {true} true ones alarmed")
        if given.show and half in _SHOWN:
            print(*(f"  missed {one}" for one in missed), *(f"  false {one}" for one in alarmed), sep="\n")
        results[half] = {"made_up": made_up, "missed": len(missed), "true": true, "alarmed": len(alarmed)}
    print(json.dumps(results))
    if results["a"]["missed"] or results["a"]["alarmed"]:
        raise SystemExit("a target is missed")


if __name__ == "__main__":
    main()
