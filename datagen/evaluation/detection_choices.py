"""What may be chosen of open-vocabulary detection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DetectionChoices:
    """Every choice that moves the score."""

    class_weight: float = 0.5
    """Weight w, 0..1, of the model's class in a box's score s^(1 - w) p^w; the proposal's own score
    s has the rest."""
    class_scale: float = 100.0
    """What cosines are multiplied by before the softmax that makes p of them."""
    nms_iou: float = 0.5
    """Of two boxes of one class that overlap by more, 0..1, the better is kept."""
    proposals_an_image: int = 1000
    """The best proposals of a picture that are classified."""
