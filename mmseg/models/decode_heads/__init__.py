"""Heads: each owns its layers and its losses."""

from mmseg.models.decode_heads.aspp_head import ASPPHead, RefineASPPHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.dswm_head import DSWMHead
from mmseg.models.decode_heads.fcn_head import FCNHead
from mmseg.models.decode_heads.isd_head import ISDHead

__all__ = ["ASPPHead", "BaseDecodeHead", "DSWMHead", "FCNHead", "ISDHead", "RefineASPPHead"]
