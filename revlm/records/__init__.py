"""What a run leaves behind: records, figures, tables."""
