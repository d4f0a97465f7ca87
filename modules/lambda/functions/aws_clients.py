"""Kept for triggers written for version 0.1: client lives in aws.clients."""

from aws.clients import client

__all__ = ["client"]
