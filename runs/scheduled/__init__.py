"""Runs by the clock: schedules, their firings, the project as they see it."""
