"""Causal language models: where they come from and their token losses."""
