"""Every model and tool call: the guard, the lanes, retries, rates, and the processes that tools run in."""
