"""From the API's messages to plain data for a page, one module for each kind of page."""
