"""HTML and SVG elements. Text and attribute values are escaped when the tree is written, so no name can become markup.

The standard library's `ElementTree` is enough for that: in a tree there is no text that could be left unescaped, so
there is nothing that a template engine would add.
"""

from __future__ import annotations

from xml.etree import ElementTree

from .._model.text import clean

Element = ElementTree.Element
Child = Element | str | None


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """Return an element.

    Args:
        tag: Its name.
        *children: Elements and texts in order; texts are cleaned of control characters, None is left out.
        **attributes: Its attributes; a trailing underscore is dropped (`class_`), others become hyphens, and None is
            left out.
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), clean(value))
    last: Element | None = None
    for child in children:
        if child is None:
            continue
        if isinstance(child, str):
            shown = clean(child)
            if last is None:
                made.text = (made.text or "") + shown
            else:
                last.tail = (last.tail or "") + shown
        else:
            made.append(child)
            last = child
    return made


def table(headings: list[str], rows: list[list[Child]], *, numbers: set[str] | None = None) -> Element:
    """Return a table that scrolls sideways where it is too wide.

    Args:
        headings: Headings of the columns.
        rows: Cells.
        numbers: Headings of the columns that hold numbers.
    """
    right = numbers or set()
    kinds = ["number" if heading in right else None for heading in headings]
    head = element(
        "tr", *[element("th", text, class_=kind, scope="col") for text, kind in zip(headings, kinds, strict=True)]
    )
    body = [
        element("tr", *[element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)])
        for row in rows
    ]
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")


def to_html(root: Element) -> str:
    """Return a whole document as text."""
    return "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"
