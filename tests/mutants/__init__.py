"""
A bank of bugs: each is the real code with a few lines put wrong, and must be
noticed.

`make mutants` lets the tests loose on every one of them, in memory; no file
changes.  Here is what tells tests that could fail from tests that look at
nothing: a bug that nobody notices is a hole in the tests, and is closed by a
test of its own.  The bugs are of the kind that people really write; most are
known from `docs/pitfalls.md`, and bear the ids of that page.
"""
