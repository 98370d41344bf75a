from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from l1ad.events.schema import load_schema
from l1ad.events.store import Events, concatenate, event_hash, inputs, make_meta, split

SCHEMA = load_schema("cms_run3")


def events(seed, n):
    rng = np.random.default_rng(seed)
    columns = {
        name: rng.integers(column.low, column.high + 1, (n, collection.slots)).astype(column.dtype)
        for name, (collection, column) in SCHEMA.columns().items()
    }
    return Events(SCHEMA, columns, make_meta(n))


@given(st.integers(0, 2**32), st.integers(1, 20))
def test_hash_depends_on_content_only(seed, n):
    sample = events(seed, n)
    order = np.random.default_rng(seed).permutation(n)
    wide = {name: array.astype(np.int64) for name, array in reversed(sample.columns.items())}
    np.testing.assert_array_equal(event_hash(sample[order]), event_hash(sample)[order])
    np.testing.assert_array_equal(event_hash(Events(SCHEMA, wide, sample.meta)), event_hash(sample))


@given(st.integers(0, 2**32), st.sampled_from(sorted(SCHEMA.columns())))
def test_hash_sees_every_column(seed, name):
    sample = events(seed, 4)
    column = sample.columns[name].copy()
    column[2, -1] ^= 1
    differ = event_hash(Events(SCHEMA, {**sample.columns, name: column}, sample.meta)) != event_hash(sample)
    assert differ.tolist() == [False, False, True, False]


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_splits_are_nested(seed, a, b):
    hashes = np.random.default_rng(seed).integers(0, 2**64, 200, dtype=np.uint64)
    low, high = sorted((a, b))
    assert not (split(hashes, low) & ~split(hashes, high)).any()


@given(st.integers(0, 2**32), st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_pieces_join_to_the_whole(seed, sizes):
    sample = events(seed, sum(sizes))
    edges = np.cumsum([0, *sizes])
    pieces = [sample[a:b] for a, b in pairwise(edges)]
    np.testing.assert_array_equal(inputs(concatenate(pieces)), inputs(sample))
