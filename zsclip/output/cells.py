"""Text for cells of a terminal: safe to show, as wide as there is room; numbers, bars."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text that is safe on a terminal: control characters and bytes that are no UTF-8 shown escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def percent(probability: float) -> str:
    """A probability in six characters; not 0 % or 100 % unless it is."""
    if 0 < probability < 0.0005:
        return " <0.1%"
    if 0.9995 <= probability < 1:
        return ">99.9%"
    return f"{100 * probability:5.1f}%"


def bar(share: float, width: int) -> str:
    """A bar of `width` cells, filled to `share` in eighths of a cell."""
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")).ljust(width)


def fit_width(text: str, width: int, *, keep_end: bool = False) -> str:
    """Padded or cut to `width` cells, with an ellipsis; `keep_end` cuts at the front (for paths)."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return set_cell_size(text, width)
    if not keep_end:
        return set_cell_size(text, width - 1) + "…"
    tail = text
    while cell_len(tail) > width - 1:
        tail = tail[1:]
    return set_cell_size("…" + tail, width)
