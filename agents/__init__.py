"""AgentSpec to crewai.Agent, and the loop that drives one."""
