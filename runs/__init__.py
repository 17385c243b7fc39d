"""What survives a crash. The only room that imports DBOS."""
