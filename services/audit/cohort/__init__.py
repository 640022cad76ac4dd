"""From files and a table to immutable shards and a manifest."""
