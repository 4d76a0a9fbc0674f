"""From overrides on a command line to one checked, typed config, and from that to the run's identity."""
