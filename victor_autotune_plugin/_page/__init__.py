"""The page that people look at, live from a server on this machine or as one file, and the figures that it shows.

`Board` reads a store, `offline_report` writes the file, `serve` answers a browser. The figures of what a plan brought
and what promotions saved are here, too, since every screen shows them.
"""
