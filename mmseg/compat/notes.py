"""What a translation did, for the user to read."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Notes"]


@dataclass
class Notes:
    """Lines of what became what, and of what was dropped and why.

    Attributes:
        renamed: from the old key to the new.
        left_out: old key and reason.
    """

    renamed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def became(self, old: str, new: str) -> None:
        """``old`` is ``new`` now."""
        self.renamed[old] = new

    def dropped(self, old: str, why: str) -> None:
        """``old`` is not there any more."""
        self.left_out[old] = why

    def __str__(self) -> str:
        lines = [f"  {old} -> {new}" for old, new in self.renamed.items()]
        lines += [f"  {old}: dropped, {why}" for old, why in self.left_out.items()]
        return "\n".join(lines)
