"""Real processes, killed and paused at random: ``python -m tests.chaos --help``."""
