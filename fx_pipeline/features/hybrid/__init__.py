"""hybrid: wavelet67 and temporal9 side by side."""
