"""The admin process: health, metrics, the page, and orders from the local socket."""
