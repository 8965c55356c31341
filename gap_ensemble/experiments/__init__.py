"""What lies beyond one run: files of other experiments, their blend, and their scores on the leaderboard."""
