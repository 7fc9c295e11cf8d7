"""Causal language models: where they come from and their token losses."""

# In an exported model's folder: what it is, and how it reads text.
FACTS = "revlm.json"
