"""End-to-end tests: Debian's Chromium drives the real page against a real server; may import everything."""
