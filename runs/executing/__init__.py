"""Executing runs: in this process, in workers, one holder at a time; how one begins and how it ends."""
