"""What a project is: the YAML language, read and checked. Knows neither CrewAI nor DBOS."""
