"""Scoring runs and selections as tables, pictures and W&B runs."""
