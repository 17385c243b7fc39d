"""What agents can do. Knows neither CrewAI nor DBOS."""
