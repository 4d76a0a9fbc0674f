"""The corruptions of CIFAR-10-C that can be computed, by name, with the constants of the five severities. No torch.

Hendrycks, Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and Perturbations (ICLR 2019). The
constants are those of their make_cifar_c.py, which are for 32x32 pixels. Of its nineteen, frost is made of photographs,
and spatter of OpenCV's own edges, distances and histograms.
"""

from __future__ import annotations

SEVERITIES: dict[str, tuple[float | tuple[float, ...], ...]] = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),  # standard deviation
    "shot_noise": (500, 250, 100, 75, 50),  # photons of a white pixel
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),  # share of the numbers that become 0 or 1
    "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),  # standard deviation, times the pixel
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),  # standard deviation in pixels
    # Radius of a disk, and its blur.
    "defocus_blur": (
        (0.3, 0.4),
        (0.4, 0.5),
        (0.5, 0.6),
        (1, 0.2),
        (1.5, 0.1),
    ),
    # Standard deviation, times that pixels move.
    "glass_blur": (
        (0.05, 1),
        (0.25, 1),
        (0.4, 1),
        (0.25, 2),
        (0.4, 2),
    ),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),  # radius and standard deviation
    "zoom_blur": (1.06, 1.11, 1.16, 1.21, 1.26),  # end of the enlargements
    "snow": (  # mean and deviation of the noise, enlargement, threshold, radius and deviation of the blur, colour left
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),  # thickness, and how fast details fade
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),  # added to the value of HSV
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # factor of the distance from the channel's mean
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),  # factor and summand of the saturation
    "elastic_transform": (  # height and width of the waves, and reach of the affine map, in sides
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ),
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),  # the smaller side
    "jpeg_compression": (80, 65, 58, 50, 40),  # quality
}
KINDS = tuple(SEVERITIES)
COLOURED = ("saturate",)  # does nothing to grey images
