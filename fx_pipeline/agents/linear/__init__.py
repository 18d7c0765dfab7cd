"""A linear forecast with thresholds on entry and exit: trained in seconds, a line to hold others against."""
