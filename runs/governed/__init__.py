"""What a run may do: its policy, its ceilings, approvals, what it has read, and what nobody may read."""
