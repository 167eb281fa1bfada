"""Which of several spectra in one file to read: by row, fibre or order; several stars are not orders of one."""

from __future__ import annotations

import re

import numpy as np

from maury.readers.noise import der_snr
from maury.readers.source import Floats, Log, RawOrder

_SAME_RANGE = 0.8
"""Overlap of two ranges of wavelengths over their union from which on they are not neighbouring orders of one star."""

_FAINTER = 5.0
"""Ratio of the fluxes of two spectra over the same wavelengths from which on they are not two slices of one star."""

_MOST_SHOWN = 40


def _listed(values: list[str]) -> str:
    """Values for a message: all of them, or the first ones."""
    more = len(values) - _MOST_SHOWN
    return ", ".join(values[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def same_name(one: object, other: object) -> bool:
    """Whether two names are the same but for case, blanks and leading zeros of a number."""
    first, second = (re.sub(r"[^a-z0-9+.-]", "", str(text).lower()) for text in (one, other))
    return first == second or (first.isdigit() and second.isdigit() and int(first) == int(second))


def of_row_and_fibre(orders: list[RawOrder], log: Log) -> list[RawOrder]:
    """The orders in the row and of the fibre that the user names.

    Raises:
        FormatError: the file has no such row or fibre.
    """
    options = log.options
    if options.row is not None:
        found = [order for order in orders if order.row == options.row]
        if not found:
            rows = list(dict.fromkeys(str(order.row) for order in orders if order.row is not None))
            raise log.fail(f"row {options.row}: the file has rows {_listed(rows)}" if rows else
                           f"row {options.row}: the spectrum has no rows to choose from", "row")  # fmt: skip
        log.rule(f"row {options.row}: chosen by the user")
        orders = found
    if options.fibre is not None:
        found = [order for order in orders if order.fibre and same_name(order.fibre, options.fibre)]
        if not found:
            fibres = list(dict.fromkeys(order.fibre for order in orders if order.fibre))
            raise log.fail(f"fibre {options.fibre}: the file has {_listed(fibres)}" if fibres else
                           f"fibre {options.fibre}: the file names no fibres", "fibre")  # fmt: skip
        log.rule(f"fibre {options.fibre}: chosen by the user")
        orders = found
    return orders


def of_order(orders: list[RawOrder], log: Log) -> list[RawOrder]:
    """The order that the user names.

    Raises:
        FormatError: the file has no such order.
    """
    number = log.options.order
    if number is None:
        return orders
    found = [order for order in orders if order.name and same_name(order.name, number)]
    if not found and number == 1 and len(orders) == 1:
        found = orders
    if not found:
        names = [order.name for order in orders if order.name]
        raise log.fail(f"order {number}: the file has {_listed(names) or 'one order, 1'}", "order")
    log.rule(f"order {number}: chosen by the user")
    return found


def _unequal(one: Floats, two: Floats) -> bool:
    """Whether the brighter of two spectra has light, and the other one far less."""
    low, high = sorted((flux[np.isfinite(flux)] for flux in (one, two)), key=lambda flux: float(np.median(flux)))
    level = float(np.median(high))
    return level > 3 * der_snr(high) and float(np.median(low)) * _FAINTER < level


def require_one_star(orders: list[RawOrder], log: Log) -> None:
    """Refuse several spectra over the same wavelengths.

    Neighbouring orders share their ends; an image slicer gives each order twice. Three orders over nearly the same
    range, two of different fibres or fluxes (star and sky), or a file of nothing but two such, are several stars,
    fibres or exposures.

    Raises:
        FormatError: there are such orders; it lists what can be chosen.
    """
    if len(orders) < 2:
        return
    low = np.array([order.wavelength_aa[0] for order in orders])
    high = np.array([order.wavelength_aa[-1] for order in orders])
    shared = np.minimum.outer(high, high) - np.maximum.outer(low, low)
    union = np.maximum.outer(high, high) - np.minimum.outer(low, low)
    alike = shared > _SAME_RANGE * union
    most = int(alike.sum(axis=1).argmax())
    count = int(alike[most].sum())
    labels = np.array([order.fibre for order in orders])
    differ = alike & (labels[:, None] != labels) & ((labels != "")[:, None] & (labels != ""))
    if differ.any():
        most = int(np.argwhere(differ)[0][0])
        count = int(alike[most].sum())
    elif count < 3 and count < len(orders):
        pairs = np.argwhere(np.triu(alike, 1)).tolist()
        unequal = [one for one, two in pairs if _unequal(orders[one].flux, orders[two].flux)]
        if 2 * len(unequal) <= len(pairs):
            return
        most = unequal[0]
    group = [orders[i] for i in np.flatnonzero(alike[most])]
    choices = {
        "fibre": [order.fibre for order in group],
        "extension": [order.extension for order in group],
        "row": ["" if order.row is None else str(order.row) for order in group],
        "order": [order.name for order in group],
    }
    usable = {key: dict.fromkeys(names) for key, names in choices.items() if all(names) and len(set(names)) > 1}
    if "row" in usable:
        usable.pop("order", None)
    ways = [f"{key} ({_listed(list(names))})" for key, names in usable.items()]
    advice = f"; choose one by {' or '.join(ways)}" if ways else "; keep one of them"
    raise log.fail(
        f"{count} spectra cover nearly the same wavelengths ({low[most]:.0f} to {high[most]:.0f} Å): several spectra, "
        f"not one: stars, fibres or exposures{advice}",
        next(iter(usable), None),
    )
