"""The report's figures, drawn with matplotlib and written as inline SVG.

    ink.py         colours by name; the page's style sheet gives them their values
    plot.py        lines, marks, fields and words at values and rows
    svg.py         a matplotlib figure as SVG that fits into a page: no request, no script, stable bytes
    forest.py      points with intervals by group, counts and state on every row
    heat_map.py    label by group, the difference to everyone
    dumbbells.py   gaps from baseline to candidate, beside the change with its interval

Importing this room imports matplotlib (half a second): the page does it when it is rendered, and nobody else.
"""
