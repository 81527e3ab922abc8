"""What runs have to tell a tracking server: kept on disk until the server has it, and delivered in order."""
