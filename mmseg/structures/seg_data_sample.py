"""What one image carries from the data set through the network to the metric."""

from __future__ import annotations

from mmengine.structures import BaseDataElement, PixelData

__all__ = ["SegDataSample"]


class SegDataSample(BaseDataElement):
    """Annotations and predictions of one image, named as in mmsegmentation 1.x.

    Fields (each a :class:`mmengine.structures.PixelData`, ``.data`` is the tensor):

    - ``gt_sem_seg``: multi-label uint8 ``(4, H, W)`` in {0, 1, 255}, or an index map ``(1, H, W)`` with 0 for background, 1 to 4
      for the lesions and 255 for ignored pixels: uint8 as a data set gives it, long for the losses of softmax models.
    - ``probabilities``: float32 ``(C, H, W)`` in [0, 1], of the lesions, in the data set's order; where a softmax model has
      ``thresholds=None``, of all its classes.
    - ``pred_sem_seg``: uint8 ``(1, H, W)``, the index map: 0, or 1 + the likeliest lesion above its threshold; with
      ``thresholds=None`` the likeliest class.

    Meta information: ``img_path, image_id, sample_idx, ori_shape (H, W), img_shape (H, W)``; of index maps
    ``reduce_zero_label``; of a :class:`~mmseg.datasets.ResidentDataset` ``lesion_points``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("gt_sem_seg", "probabilities", "pred_sem_seg") and not isinstance(value, PixelData):
            raise TypeError(f"SegDataSample.{name}: got {type(value).__name__}, expected PixelData(data=tensor)")
        super().__setattr__(name, value)
