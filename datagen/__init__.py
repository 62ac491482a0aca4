"""Fine-grained vision-language data: captions, regions, hard negatives, and training on them."""

__version__ = "0.1.0"
