"""Watching by a program."""
