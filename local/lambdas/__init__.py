"""AWS Lambda: the deployed zip in warm processes of this machine."""
