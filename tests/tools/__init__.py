"""Tools for changing the code."""
