"""picco17: seven market features and four of the clock, for M5 and H1; with the six of the position they are 17."""
