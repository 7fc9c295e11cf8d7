"""What notebooks open: runs, texts and single tokens; may load a model."""
