"""Conventional triggers: seeds on hardware integers, read from a table (``menus/*.toml``) or from published names.

`l1ad.events.menu.seeds` says what a menu is, `decision` evaluates it, `pairs` is the integer arithmetic of two objects,
`published` reads seed names and prescale tables.
"""

from l1ad.events.menu.decision import decide, menu_columns, takes
from l1ad.events.menu.published import prescaled, published_menu, read_prescales, seed_of_name
from l1ad.events.menu.seeds import Menu, Pair, Requirement, Seed, load_menu, save_menu

__all__ = [
    "Menu",
    "Pair",
    "Requirement",
    "Seed",
    "decide",
    "load_menu",
    "menu_columns",
    "prescaled",
    "published_menu",
    "read_prescales",
    "save_menu",
    "seed_of_name",
    "takes",
]
