"""What is told of runs: their steps and costs, why they went as they did, who stands behind each line."""
