"""Photos, and what is known of the cameras that took them."""
