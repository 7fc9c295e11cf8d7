"""What a scoring run leaves: shards, the table made of them, and what the table says."""
