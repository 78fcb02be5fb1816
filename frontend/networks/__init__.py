"""Networks: their definitions, the addresses in use, and what netavark makes of both."""
