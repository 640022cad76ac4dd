"""The dashboards as code: one module each, and what a panel is in ``panels``."""
