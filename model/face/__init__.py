"""Where the head is: find it, crop it steadily, map a rendered crop back. Knows nothing of motion or networks."""
