"""TaskSpec to crewai.Task, and the judging of its output."""
