"""Live trading. In this version a dry run: it takes one decision on the newest bars and sends no order."""
