"""wavelet67: the scattering transform of the last 257 changes of the close, at the newest bar."""
