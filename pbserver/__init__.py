"""Keeping copies the same."""
