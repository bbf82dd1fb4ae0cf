"""Attacks on a receiver: each names its case, is bounded in time and count, and stays on the loopback interface."""
