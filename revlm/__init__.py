"""revlm: what a language model learns by reading backwards (arXiv 2410.09817)."""

__version__ = "0.1.0"
