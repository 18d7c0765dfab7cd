"""Sessions: which stretches of six hours can be traded, and the walk-forward windows they are grouped into."""
