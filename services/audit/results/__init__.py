"""From committed rows to the report: formats of rows and report, and the reduction between them."""
