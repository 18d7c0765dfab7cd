"""temporal9: the nine temporal features of SPEC section 3, of closes alone."""
