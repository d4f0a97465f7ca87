"""Not part of the contract."""
