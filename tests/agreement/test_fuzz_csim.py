"""Random networks through hls4ml's C simulation."""

from l1ad.fuzz.run import fuzz, simulate


def test_a_clean_run_through_the_compiler_finds_nothing(tmp_path, require):
    require("compiler")
    assert fuzz(8, 4, tmp_path, {"C simulation": simulate}).cases == ()  # each kind once
