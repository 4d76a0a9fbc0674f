"""mixbench: mixed-sample data augmentation and sharpness-aware training, from one config to a table."""

__version__ = "0.1.0"
