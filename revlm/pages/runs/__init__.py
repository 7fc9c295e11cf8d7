"""Training runs as tables, pictures and model cards."""
