"""What several test folders use: terminals, a look at the host, waiting."""
