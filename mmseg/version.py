"""The version of the package, in one place."""

__version__ = "0.1.0"

NOTICE = "research use, not a medical device"
"""What every result that leaves this project says of itself."""
