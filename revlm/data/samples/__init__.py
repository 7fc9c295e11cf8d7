"""Readers of the texts that lie inside installed packages, one module a family of sources."""
