"""Who is primary."""
