"""ROOT files for the tests of readers: trees with a list per event and quantity, as CMS software writes them."""

import re

import numpy as np


def write_trees(path, trees):
    """Write ``{tree: {branch: content}}``.

    A content is an array with one number per event; or ``(dtype, list of lists)``; or for branches that share a
    counter, as those of NanoAOD, ``({field: dtype}, list of lists of tuples)``: fields are ``branch_field``.
    """
    import uproot

    with uproot.recreate(path) as file:
        for name, contents in trees.items():
            arrays = {branch: _array(content) for branch, content in contents.items()}
            types = {b: a.dtype if isinstance(a, np.ndarray) else a.type.content for b, a in arrays.items()}
            tree = file.mktree(name, types, counter_name=lambda branch: "n" + re.split("[./]", branch)[-1])
            if len(next(iter(arrays.values()))):
                tree.extend(arrays)
    return path


def _array(content):
    import awkward as ak

    if isinstance(content, np.ndarray):
        return content
    types, events = content
    counts = np.array([len(event) for event in events], np.int64)
    rows = [row for event in events for row in event]
    if not isinstance(types, dict):
        return ak.unflatten(np.array(rows, types), counts)
    columns = zip(*rows, strict=True) if rows else ([] for _ in types)
    flat = {name: np.array(column, dtype) for (name, dtype), column in zip(types.items(), columns, strict=True)}
    return ak.zip({name: ak.unflatten(array, counts) for name, array in flat.items()})


def cut(path, target, keep):
    """The first `keep` of a file, as a copy that broke off."""
    raw = path.read_bytes()
    target.write_bytes(raw[: int(len(raw) * keep)])
    return target


def scramble(path, tree, branch):
    """Zeros over the compressed numbers of a branch."""
    import uproot

    with uproot.open(path) as file:
        basket = file[tree][branch].member("fBasketSeek")[0]
    with path.open("r+b") as raw:
        raw.seek(basket + 90)
        raw.write(bytes(60))
