import shutil
from pathlib import Path

import pytest

from l1ad.hardware.resources import COSIMULATION, HLS, LOGIC, ROUTED
from l1ad.hardware.vendor.csynth import csynth_row, parse_csynth_rpt
from l1ad.hardware.vendor.folder import read_folder

REPORTS = Path(__file__).parents[1] / "reports"


@pytest.fixture
def folder(tmp_path):
    """Function that copies reports into a folder, under names that tell nothing."""

    def filling(*names, changes=()):
        for number, name in enumerate(names):
            path = tmp_path / "reports" / f"deep{number}" / f"n{number}{Path(name).suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = (REPORTS / name).read_text()
            for old, new in changes:
                text = text.replace(old, new)
            path.write_text(text)
        return tmp_path / "reports"

    return filling


def test_one_row_for_each_stage_in_order(folder):
    path = folder(
        "timing_failing.rpt", "cosim.rpt", "routed_ultrascale.rpt", "vitis_2023_csynth.rpt", "generation_info.v"
    )
    (path / "weights.txt").write_text("1, 2, 3\n")
    (path / "picture.png").write_bytes(bytes(range(256)))
    hls, cosim, routed = read_folder(path, None)
    assert [hls.stage, cosim.stage, routed.stage] == [HLS, COSIMULATION, ROUTED]
    assert hls == csynth_row(parse_csynth_rpt(REPORTS / "vitis_2023_csynth.rpt"))
    assert (cosim.part, cosim.clock_ns, cosim.latency_cycles, cosim.latency_ns) == (hls.part, 2.5, 13, 32.5)
    assert (cosim.lut, cosim.interval_cycles) == (None, 2)
    assert cosim.tool == "Vitis HLS 2023.2, xsim, Verilog (cosim.rpt)"
    assert (routed.lut, routed.clock_ns, routed.wns_ns, routed.period_ns) == (11000, 2.5, -0.421, 2.921)
    assert (routed.latency_cycles, routed.latency_ns) == (None, None)


def test_cosimulation_alone_has_no_part_and_no_time(folder):
    (row,) = read_folder(folder("cosim.rpt"), None)
    assert (row.part, row.clock_ns, row.latency_cycles, row.latency_ns) == ("unknown", None, 13, None)
    assert row.tool == "unknown version, xsim, Verilog (cosim.rpt)"


def test_generation_info_alone_and_beside_its_report(folder):
    (row,) = read_folder(folder("generation_info.vhd"), None)
    assert (row.tool, row.lut, row.latency_cycles, row.latency_ns, row.lut_available) == (
        "2019.1 (CORE_GENERATION_INFO)", 2412, 14, 70.0, None,
    )  # fmt: skip
    # the latency is unknown to the report, and the attribute's is not put in its place
    (row,) = read_folder(folder("generation_info.vhd", "vivado_hls_2019_csynth.rpt"), None)
    assert row == csynth_row(parse_csynth_rpt(REPORTS / "vivado_hls_2019_csynth.rpt"))


def test_reports_of_two_runs_are_refused(folder):
    path = folder(
        "generation_info.vhd", "vivado_hls_2019_csynth.rpt", changes=[("HLS_SYN_LUT=2412", "HLS_SYN_LUT=2413")]
    )
    with pytest.raises(
        ValueError, match=r"n0\.vhd: lut of HLS C synthesis must be 2412 as in .*n1\.rpt, not 2413; give"
    ):
        read_folder(path, None)


def test_a_module_is_not_taken_for_the_top(folder):
    path = folder("vitis_2023_csynth.rpt")
    module = (REPORTS / "vitis_2023_csynth.rpt").read_text()
    module = module.replace("Report for 'l1ad'", "Report for 'dense_config2'").replace(
        "|dense_config2 |", "|mult          |"
    )
    (path / "module.rpt").write_text(module.replace("17171", "15000"))
    (row,) = read_folder(path, None)
    assert row.lut == 17171
    (row,) = read_folder(path, "dense_config2")
    assert row.lut == 15000


def test_several_designs_need_a_top(folder):
    path = folder("vitis_2023_csynth.rpt", "vivado_hls_2019_csynth.rpt", "synthesised_7series.rpt")
    with pytest.raises(
        ValueError, match=r"reports must be of one design, not \['l1ad', 'older'\]; name the top, or give"
    ):
        read_folder(path, None)
    assert [row.stage for row in read_folder(path, "older")] == [HLS, LOGIC]
    with pytest.raises(ValueError, match="folder must hold reports of nobody, not none"):
        read_folder(path, "nobody")


def test_a_damaged_report_is_not_passed_over(folder):
    path = folder("vitis_2023_csynth.rpt", "routed_ultrascale.rpt")
    text = (REPORTS / "routed_ultrascale.rpt").read_text()
    (path / "half.rpt").write_text(text[:900])
    with pytest.raises(ValueError, match=r"half\.rpt:\d+: .* must .*half-written"):
        read_folder(path, None)
    (path / "half.rpt").write_text(text[:200])
    with pytest.raises(ValueError, match=r"half\.rpt:1: Vivado's report must name its Command"):
        read_folder(path, None)
    (path / "half.rpt").write_text("")
    with pytest.raises(ValueError, match=r"half\.rpt:1: report must not be empty"):
        read_folder(path, None)


def test_what_the_tools_keep_for_themselves_is_passed_over(folder):
    path = folder("vitis_2023_csynth.rpt")
    hidden = path / ".autopilot" / "db"
    hidden.mkdir(parents=True)
    (hidden / "l1ad.verbose.rpt").write_text("== Vitis HLS Report for 'l1ad'\n== Performance Estimates\n")
    text = (REPORTS / "routed_ultrascale.rpt").read_text()
    (path / "power.rpt").write_text(text.replace("report_utilization", "report_power"))
    (path / "export.xml").write_text("<profile><RunData/></profile>")
    (path / "vivado.log").write_text("started\n" * 20 + text[:900])
    assert [row.stage for row in read_folder(path, None)] == [HLS]


def test_a_folder_without_reports(tmp_path):
    with pytest.raises(ValueError, match="folder must hold a report of Vitis HLS"):
        read_folder(tmp_path, None)
    with pytest.raises(ValueError, match="nowhere: must be a folder"):
        read_folder(tmp_path / "nowhere", None)


def test_timing_of_no_known_stage_is_refused(folder):
    with pytest.raises(ValueError, match="timing summary must show the state of its design"):
        read_folder(folder("timing_unconstrained.rpt"), None)


def test_the_text_report_goes_before_xml(folder):
    path = folder("vitis_2023_csynth.rpt")
    shutil.copy(REPORTS / "csynth.xml", path / "a.xml")
    expected = csynth_row(parse_csynth_rpt(REPORTS / "vitis_2023_csynth.rpt"))
    with pytest.raises(ValueError, match="bram of HLS C synthesis must be 2"):
        read_folder(path, None)
    (path / "a.xml").write_text((REPORTS / "csynth.xml").read_text().replace("<BRAM_18K>0", "<BRAM_18K>2"))
    assert read_folder(path, None) == [expected]
