"""The leaderboard: a folder of pages that need no network, one for each dataset and protocol, and an index."""
