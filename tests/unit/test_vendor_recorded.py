"""Figures of recorded vendor reports, read by eye in the files."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from l1ad.hardware.resources import HLS, LOGIC
from l1ad.hardware.vendor.csynth import Area, CSynthesis, csynth_row, parse_csynth_rpt, parse_csynth_xml
from l1ad.hardware.vendor.folder import read_folder, read_vendor_report, utilisation_row
from l1ad.hardware.vendor.post_route import PostRoute, read_post_route
from l1ad.hardware.vendor.utilisation import Site, parse_utilisation

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "vendor_reports"


def recorded(name):
    path = RECORDED / name
    if not path.is_file():
        pytest.skip(f"{path} is not there: the recorded vendor report is not checked")
    return path


NOTHING = Area(None, None, None, None, None)
HLS4ML_TEST = CSynthesis(
    design="myproject", tool="Vivado HLS", version="2020.1", date="Sat Mar 18 22:59:37 2023", part="xc7z020-clg400-1",
    family="zynq", project="myproject_prj", solution="solution1", clock_ns=5.0, estimated_ns=4.049, uncertainty_ns=0.62,
    latency_min_cycles=10, latency_max_cycles=10, latency_average_cycles=None,
    latency_min_ns=50.0, latency_max_ns=50.0, latency_average_ns=None, interval_min_cycles=8, interval_max_cycles=8,
    throughput_min_cycles=None, throughput_max_cycles=None, pipeline="dataflow",
    areas={
        "DSP": NOTHING,
        "Expression": Area(None, None, 0, 2, None),
        "FIFO": Area(0, None, 25, 140, None),
        "Instance": Area(0, 73, 7944, 2390, None),
        "Memory": NOTHING,
        "Multiplexer": NOTHING,
        "Register": NOTHING,
        "Total": Area(0, 73, 7969, 2532, 0),
        "Available": Area(280, 220, 106400, 53200, 0),
        "Utilization (%)": Area(0, 33, 7, 4, 0),
    },
    modules=("dense_array_array_ap_fixed_16_6_5_3_0_5u_config2_s", "relu_array_array_ap_fixed_5u_relu_config3_s"),
)  # fmt: skip
PRUNED_CNN = replace(
    HLS4ML_TEST, date="Mon Jun 28 13:48:42 2021", part="xcu250-figd2104-2L-e", family="virtexuplus", estimated_ns=4.363,
    latency_min_cycles=1044, latency_max_cycles=1044, latency_min_ns=5220.0, latency_max_ns=5220.0,
    interval_min_cycles=1028, interval_max_cycles=1028,
    areas={
        "DSP": NOTHING,
        "Expression": Area(None, None, 0, 32, None),
        "FIFO": Area(96, None, 5518, 13608, None),
        "Instance": Area(4, 5414, 47025, 231790, None),
        "Memory": NOTHING,
        "Multiplexer": Area(None, None, None, 36, None),
        "Register": Area(None, None, 6, None, None),
        "Total": Area(100, 5414, 52549, 245466, 0),
        "Available SLR": Area(1344, 3072, 864000, 432000, 320),
        "Utilization SLR (%)": Area(7, 176, 6, 56, 0),
        "Available": Area(5376, 12288, 3456000, 1728000, 1280),
        "Utilization (%)": Area(1, 44, 1, 14, 0),
    },
)  # fmt: skip
QUANTIZED_CNN = replace(
    PRUNED_CNN, date="Mon Jun 28 12:56:37 2021", estimated_ns=4.373,
    areas=PRUNED_CNN.areas | {
        "FIFO": Area(96, None, 5728, 14972, None),
        "Instance": Area(4, 340, 38113, 248240, None),
        "Total": Area(100, 340, 43847, 263280, 0),
        "Utilization SLR (%)": Area(7, 11, 5, 60, 0),
        "Utilization (%)": Area(1, 2, 1, 15, 0),
    },
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected", "modules"),
    [
        ("hls4ml_test_myproject_csynth.rpt", HLS4ML_TEST, 2),
        ("tutorial_pruned_cnn_csynth.rpt", PRUNED_CNN, 16),
        ("tutorial_quantized_pruned_cnn_csynth.rpt", QUANTIZED_CNN, 18),
    ],
)
def test_csynth_rpt(name, expected, modules):
    report = parse_csynth_rpt(recorded(name))
    assert len(report.modules) == modules
    assert replace(report, modules=()) == replace(expected, modules=())
    if modules == 2:
        assert report.modules == expected.modules


def test_csynth_xml():
    report = parse_csynth_xml(recorded("hls4ml_test_myproject_csynth.xml"))
    assert report == replace(
        HLS4ML_TEST, tool=None, date=None, project=None, solution=None, latency_average_cycles=10,
        latency_average_ns=50.0, throughput_min_cycles=8, throughput_max_cycles=8, modules=(),
        areas={name: HLS4ML_TEST.areas[name] for name in ("Total", "Available")},
    )  # fmt: skip
    text = csynth_row(HLS4ML_TEST)
    assert csynth_row(report) == replace(text, tool="2020.1 (csynth.xml)", date=None)
    assert (text.stage, text.tool, text.latency_cycles, text.latency_ns) == (
        HLS,
        "Vivado HLS 2020.1 (csynth.rpt)",
        10,
        50,
    )


UTILISATION = {
    "hls4ml_test_vivado_synth.rpt": (
        ("7z020clg400-1", "Sun Mar 19 07:48:36 2023"),
        Site(1526, 0, 53200, 2.87), Site(2428, 0, 106400, 2.28), Site(66, 0, 220, 30.0), Site(0, 0, 140, 0.0), None,
        {"LUT as Logic": Site(1478, 0, 53200, 2.78), "LUT as Memory": Site(48, 0, 17400, 0.28),
         "LUT as Shift Register": Site(48, 0, None, None), "Register as Latch": Site(0, 0, 106400, 0.0),
         "F7 Muxes": Site(0, 0, 26600, 0.0), "RAMB18": Site(0, 0, 280, 0.0), "Bonded IOB": Site(384, 0, 125, 307.2),
         "DSP48E1 only": Site(66, None, None, None), "BUFGCTRL": Site(1, 0, 32, 3.13), "XADC": Site(0, 0, 1, 0.0)},
        {"FDRE": 2410, "LUT2": 864, "LUT3": 671, "LUT4": 499, "CARRY4": 295, "IBUF": 280, "OBUF": 104, "DSP48E1": 66,
         "LUT1": 63, "SRL16E": 48, "LUT5": 43, "LUT6": 34, "FDSE": 18, "BUFG": 1},
    ),
    "tutorial_pruned_cnn_vivado_synth.rpt": (
        ("xcu250figd2104-2L", "Mon Jun 28 13:59:34 2021"),
        Site(123948, 0, 1728000, 7.17), Site(43435, 0, 3456000, 1.26), Site(5386, 0, 12288, 43.83),
        Site(42, 0, 2688, 1.56), Site(0, 0, 1280, 0.0),
        {"LUT as Logic": Site(120268, 0, 1728000, 6.96), "LUT as Memory": Site(3680, 0, 791040, 0.47),
         "CARRY8": Site(13270, 0, 216000, 6.14), "F7 Muxes": Site(256, 0, 864000, 0.03),
         "RAMB18": Site(84, 0, 5376, 1.56), "Bonded IOB": Site(274, 0, 676, 40.53),
         "GLOBAL CLOCK BUFFERs": Site(1, 0, 1344, 0.07), "BUFGCE": Site(1, 0, 384, 0.26)},
        {"LUT2": 52029, "FDRE": 42366, "LUT3": 41635, "LUT4": 40010, "CARRY8": 13270, "LUT6": 12631, "LUT5": 10697,
         "DSP48E2": 5386, "LUT1": 4899, "SRL16E": 2816, "FDSE": 1069, "SRLC32E": 864, "MUXF7": 256, "OBUF": 210,
         "RAMB18E2": 84, "INBUF": 64, "IBUFCTRL": 64, "BUFGCE": 1},
    ),
    "tutorial_quantized_pruned_cnn_vivado_synth.rpt": (
        ("xcu250figd2104-2L", "Mon Jun 28 13:06:58 2021"),
        Site(118931, 0, 1728000, 6.88), Site(30702, 0, 3456000, 0.89), Site(353, 0, 12288, 2.87),
        Site(34, 0, 2688, 1.26), Site(0, 0, 1280, 0.0),
        {"LUT as Logic": Site(115875, 0, 1728000, 6.71), "LUT as Memory": Site(3056, 0, 791040, 0.39),
         "CARRY8": Site(14273, 0, 216000, 6.61), "F7 Muxes": Site(578, 0, 864000, 0.07),
         "F8 Muxes": Site(80, 0, 432000, 0.02), "RAMB18": Site(68, 0, 5376, 1.26)},
        {"LUT2": 53834, "LUT3": 29466, "FDRE": 29289, "LUT4": 28455, "LUT6": 17197, "LUT5": 16487, "CARRY8": 14273,
         "LUT1": 5418, "SRL16E": 2032, "FDSE": 1413, "SRLC32E": 1024, "MUXF7": 578, "DSP48E2": 353, "OBUF": 210,
         "MUXF8": 80, "RAMB18E2": 68, "INBUF": 64, "IBUFCTRL": 64, "BUFGCE": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UTILISATION)
def test_utilisation(name):
    path = recorded(name)
    report = parse_utilisation(path)
    about, lut, ff, dsp, tiles, uram, sites, primitives = UTILISATION[name]
    assert (report.device, report.date) == about
    assert (report.design, report.state, report.stage) == ("myproject", "Synthesized", LOGIC)
    assert report.tool == "Vivado v.2020.1 (lin64) Build 2902540 Wed May 27 19:54:35 MDT 2020"
    assert (report.lut, report.ff, report.dsp, report.bram_tiles, report.uram) == (lut, ff, dsp, tiles, uram)
    assert {site: report.sites[site] for site in sites} == sites
    assert report.primitives == primitives
    # every other row of a site, by a scan of the lines that knows nothing of tables
    rows = re.findall(r"^\| +(\w.*?)\*? *\| +(\d+) \| +(\d*) \| +(\d*) \| +([\d.]*) \|$", path.read_text(), re.M)
    scanned = {
        site: Site(float(used), *(float(cell) if cell else None for cell in others))
        for site, used, *others in rows
        if "SLR" not in site and "TX_REG" not in site and "RX_REG" not in site and "SLL" not in site
    }
    assert report.sites == scanned
    row = utilisation_row(report)
    assert (row.bram, row.bram_available) == (2 * tiles.used, 2 * tiles.available)


def test_published_post_route_results():
    rows = read_post_route(recorded("jedi_linear_post_route.csv"))
    assert len(rows) == 20
    assert rows[0] == PostRoute("128-particle-16-feature-perminv", 2.0, 26, 218614.5, 242979, 110726, 0, -2.212)
    assert rows[4] == PostRoute("16-particle-16-feature-perminv", 2.0, 22, 91407.5, 98760, 49831, 0, -1.257)
    assert rows[-1] == PostRoute("8-particle-3-feature", 2.0, 19, 34161.5, 35684, 20016, 0, -0.594)


def test_reports_of_one_recorded_project_make_two_rows(tmp_path):
    for name in (
        "hls4ml_test_myproject_csynth.rpt",
        "hls4ml_test_myproject_csynth.xml",
        "hls4ml_test_vivado_synth.rpt",
    ):
        (tmp_path / name).write_text(recorded(name).read_text())
    hls, logic = read_folder(tmp_path, None)
    assert hls == csynth_row(HLS4ML_TEST)
    assert (logic.stage, logic.lut, logic.ff, logic.dsp, logic.bram, logic.uram) == (LOGIC, 1526, 2428, 66, 0, None)


def test_recorded_reports_of_several_projects_are_no_table():
    recorded("tutorial_pruned_cnn_csynth.rpt")
    with pytest.raises(
        ValueError, match=r"of HLS C synthesis must be .* as in .*; give a folder with the reports of one"
    ):
        read_folder(RECORDED, None)


@pytest.mark.parametrize(
    "name", ["tutorial_pruned_cnn_csynth.rpt", "hls4ml_test_vivado_synth.rpt", "hls4ml_test_myproject_csynth.xml"]
)
def test_recorded_reports_cut_short_are_refused(tmp_path, name):
    lines = recorded(name).read_text().splitlines(keepends=True)
    path = tmp_path / name
    whole = read_vendor_report(recorded(name))
    for kept in range(30, len(lines), 7):
        path.write_text("".join(lines[:kept]))
        try:
            report = read_vendor_report(path)
        except ValueError as error:
            text = str(error)
        else:
            text = f"{path}:" if report == whole and not "".join(lines[kept:]).strip() else "taken"
        assert text.startswith(f"{path}:")
