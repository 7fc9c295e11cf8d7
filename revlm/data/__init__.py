"""Text to batches: corpora, token ids, oriented streams, the datamodule."""
