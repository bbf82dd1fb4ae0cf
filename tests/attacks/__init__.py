"""Attacks, overload and broken input: each test names its case, and is bounded in time and count."""
