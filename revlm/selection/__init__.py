"""A score table, a rule and a token budget: documents to train on."""

# The files of a selection.
SELECTION, RECORD = "selection.parquet", "selection.json"
