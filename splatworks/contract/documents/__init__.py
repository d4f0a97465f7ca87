"""The JSON documents in S3: each a module with its type, its version, one reader and one writer.

A reader accepts its own version and the one before, ignores fields that it does not know, and refuses a newer version
with what to do. A document without `version` counts as version 0.
"""
