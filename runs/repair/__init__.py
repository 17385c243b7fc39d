"""Afterwards: runs replayed, forked, compared, repaired, taken back and deleted."""
