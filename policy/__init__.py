"""What is allowed: pure decisions, no clock, no disk."""
