"""What a command will cost before it runs: time, memory and disk, measured here or reckoned from stated peaks."""
