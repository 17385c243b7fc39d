"""People: what a run asks them, where it waits for the answer, and how they are told."""
