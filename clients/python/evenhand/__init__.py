"""Evenhand: serve medical-image models and audit them for subgroup fairness."""

from pkgutil import extend_path

# The generated stubs (evenhand.audit.v1, ...) are a distribution of their own that shares this package's name.
__path__ = extend_path(__path__, __name__)
