"""What the papers explain, tried: a study computes numbers on its own data, draws them, and judges claims by them."""
