"""The work itself: crews, managers, tasks with their patterns, reviews and handoffs, all as durable steps."""
