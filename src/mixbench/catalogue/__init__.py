"""What there is to choose from: methods, options, the gallery."""
