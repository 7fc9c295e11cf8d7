"""Effects with intervals, from numbers alone: no torch, no files."""
