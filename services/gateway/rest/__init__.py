"""The HTTP edge: the API by its google.api.http rules, the Open Inference Protocol, artifacts, uploads, metrics."""
