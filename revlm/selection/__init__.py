"""A score table, a rule and a token budget: documents to train on."""
