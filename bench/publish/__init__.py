"""Submissions that anyone can check, and the leaderboard: records become a static site."""
