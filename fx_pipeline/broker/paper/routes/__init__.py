"""The endpoints of the paper broker, one module a section of OANDA's documentation."""
