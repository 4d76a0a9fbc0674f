"""Sweeps: which runs one command line asks for, how each stands, and who trains them."""
