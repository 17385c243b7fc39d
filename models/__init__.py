"""What answers: providers, the offline model, choice and prices."""
