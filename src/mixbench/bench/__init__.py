"""Measuring training steps as they really run, side by side, and against the limits of the device."""
