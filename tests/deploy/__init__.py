"""What is deployed: image, compose file, chart, proxy, metrics, alerts. Checkers that are not installed are skipped."""
