from dataclasses import replace
from pathlib import Path

import pytest

from l1ad.hardware.resources import HLS, LOGIC, PLACED, ROUTED, Resources
from l1ad.hardware.vendor.cosim import Cosimulation, parse_cosim
from l1ad.hardware.vendor.csynth import Area, CSynthesis, csynth_row, parse_csynth_rpt, parse_csynth_xml
from l1ad.hardware.vendor.folder import read_vendor_report, utilisation_row
from l1ad.hardware.vendor.generation_info import GenerationInfo, parse_generation_info
from l1ad.hardware.vendor.post_route import PostRoute, read_post_route
from l1ad.hardware.vendor.tables import Report, bounds, duration_ns, integer, number, percent
from l1ad.hardware.vendor.timing import Timing, parse_timing, period_ns
from l1ad.hardware.vendor.utilisation import Site, parse_utilisation

REPORTS = Path(__file__).parents[1] / "reports"

VITIS_2023 = CSynthesis(
    design="l1ad", tool="Vitis HLS", version="2023.2", date="Mon Jan  1 12:00:00 2024", part="xcvu13p-flga2577-2-e",
    family="virtexuplus", project="l1ad_prj", solution="solution1 (Vivado IP Flow Target)",
    clock_ns=2.5, estimated_ns=1.801, uncertainty_ns=0.68,
    latency_min_cycles=11, latency_max_cycles=13, latency_average_cycles=None,
    latency_min_ns=27.5, latency_max_ns=32.5, latency_average_ns=None, interval_min_cycles=1, interval_max_cycles=2,
    throughput_min_cycles=None, throughput_max_cycles=None, pipeline="yes",
    areas={
        "DSP": Area(None, None, None, None, None),
        "Expression": Area(None, None, 0, 2002, None),
        "Instance": Area(2, 57, 4000, 15000, None),
        "Register": Area(None, None, 242, 169, None),
        "Total": Area(2, 57, 4242, 17171, 0),
        "Available SLR": Area(1344, 3072, 864000, 432000, 320),
        "Utilization SLR (%)": Area(0, 1, 0, 3, 0),
        "Available": Area(5376, 12288, 3456000, 1728000, 1280),
        "Utilization (%)": Area(0, 0, 0, 0, 0),
    },
    modules=("dense_config2",),
)  # fmt: skip
VIVADO_2019 = CSynthesis(
    design="older", tool="Vivado HLS", version="2019.1", date="Tue Jan  1 12:00:00 2019", part="xc7k325tffg900-2",
    family="kintex7", project="older_prj", solution="solution1", clock_ns=5.0, estimated_ns=4.375, uncertainty_ns=0.62,
    latency_min_cycles=None, latency_max_cycles=None, latency_average_cycles=None,
    latency_min_ns=None, latency_max_ns=None, latency_average_ns=None,
    interval_min_cycles=None, interval_max_cycles=None, throughput_min_cycles=None, throughput_max_cycles=None,
    pipeline="none",
    areas={
        "DSP": Area(None, None, None, None, None),
        "Expression": Area(None, None, 0, 321, None),
        "Total": Area(0, 8, 1321, 2412, None),
        "Available": Area(890, 840, 407600, 203800, None),
        "Utilization (%)": Area(0, 0, 0, 1, None),
    },
    modules=(),
)  # fmt: skip
PARSED = Resources(
    stage=HLS, tool="2024.1 (csynth.xml)", part="xcvu13p-flga2577-2-e", clock_ns=2.5, lut=17171, ff=4242, dsp=57,
    bram=0, latency_cycles=13, interval_cycles=2, latency_ns=32.5, uram=0, period_ns=None, wns_ns=None,
    lut_available=1728000, ff_available=3456000, dsp_available=12288, bram_available=5376, uram_available=1280,
    date=None,
)  # fmt: skip


def changed(tmp_path, name, *changes):
    """Path of a copy of a report with texts replaced, each once."""
    text = (REPORTS / name).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / name
    path.write_text(text)
    return path


ALL = (
    "csynth.xml", "vitis_2023_csynth.rpt", "vivado_hls_2019_csynth.rpt", "synthesised_7series.rpt",
    "routed_ultrascale.rpt", "hierarchical.rpt", "timing_failing.rpt", "timing_unconstrained.rpt", "cosim.rpt",
    "generation_info.vhd", "generation_info.v",
)  # fmt: skip
PARSERS = (parse_csynth_rpt, parse_csynth_xml, parse_utilisation, parse_timing, parse_cosim, parse_generation_info)


def parser_of(name):
    """The one parser that takes a report; the others refuse it, with its line."""
    takers, refused = [], []
    for parse in PARSERS:
        try:
            parse(REPORTS / name)
            takers.append(parse)
        except ValueError as error:
            refused.append(str(error))
    (parse,) = takers
    assert all(text.removeprefix(f"{REPORTS / name}:")[0].isdigit() for text in refused)
    return parse


@pytest.mark.parametrize("name", ALL)
def test_each_report_is_known_and_no_other_parser_takes_it(name):
    assert read_vendor_report(REPORTS / name) == parser_of(name)(REPORTS / name)


@pytest.mark.parametrize("name", ALL)
def test_a_report_cut_at_any_line_is_refused(name, tmp_path):
    parse = parser_of(name)
    text = (REPORTS / name).read_text()
    lines = text.splitlines(keepends=True)
    whole, path = parse(REPORTS / name), tmp_path / name
    # Vivado marks no end of its list of paths: past the last table, a cut between them does no harm and cannot be seen
    harmless = next((n for n, line in enumerate(lines) if line.startswith("Path Group ")), len(lines))
    for kept in range(len(lines)):
        path.write_text("".join(lines[:kept]))
        if "".join(lines[kept:]).strip() and kept < harmless + 3:
            with pytest.raises(ValueError, match=rf"{name}:\d+: .* must .*; ") as refused:
                parse(path)
            assert 1 <= int(str(refused.value).split(f"{name}:")[1].split(":")[0]) <= max(kept, 1)
        else:
            assert same_or_refused(parse, path, whole)


@pytest.mark.parametrize("name", ALL)
def test_a_report_cut_within_a_line_gives_no_wrong_figure(name, tmp_path):
    parse = parser_of(name)
    text = (REPORTS / name).read_text()
    whole, path = parse(REPORTS / name), tmp_path / name
    for kept in [*range(0, len(text) - 200, 23), *range(len(text) - 200, len(text))]:
        path.write_text(text[:kept])
        assert same_or_refused(parse, path, whole)


def same_or_refused(parse, path, whole):
    try:
        return parse(path) == whole
    except ValueError as error:
        return path.name in str(error)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00 no text", b"the quick brown fox\n", b"<html></html>", b"<profile/>"]
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "foreign.rpt"
    path.write_bytes(content)
    for parse in (*PARSERS, read_vendor_report):
        with pytest.raises(ValueError, match=r"foreign\.rpt"):
            parse(path)
        with pytest.raises(ValueError, match=r"none\.rpt.*No such file"):
            parse(tmp_path / "none.rpt")


def test_both_layouts_of_csynth_rpt():
    assert parse_csynth_rpt(REPORTS / "vitis_2023_csynth.rpt") == VITIS_2023
    assert parse_csynth_rpt(REPORTS / "vivado_hls_2019_csynth.rpt") == VIVADO_2019


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("|       11|       13|", "|       11|      foo|", r"rpt:\d+: Latency max must be a number, not 'foo'; the"),
        ("|    1|    2|", "|    1|  1~2|", "Interval max must be a number, not '1~2'"),
        ("32.500 ns|    1|    2|", "32.500 km|    1|    2|", r"Latency \(absolute\) must be a time in one of ns, us"),
        ("|  2.50 ns|  1.801", "|     2.50|  1.801", "Target must be a time .*, not '2.50'"),
        ("|    17171|", "|   1,7171|", "LUT of Total must be a number, not '1,7171'"),
        ("|    17171|", "|       ~0|", "LUT of Total must be a number, not '~0'"),
        ("|    17171|", "|       -3|", "LUT of Total must be a whole number of at least 0, not '-3'"),
        ("|    17171|", "|     12.5|", "LUT of Total must be a whole number of at least 0, not '12.5'"),
        ("17171|     0|", "17171|     0", "table of line 53 must go on with a row or a border"),
        ("|    17171|", "|    1|7171|", "row must have the 6 cells of its header, not 7"),
        ("|Total                |", "|Sum                  |", "must have a row 'Total'"),
        ("|  DSP  |", "| DSP58 |", "utilisation summary must have columns of .*, not .*DSP58"),
        ("| BRAM_18K|  DSP  |", "|  DSP48E |  DSP  |", r"table must have one column of \('DSP', 'DSP48E'\), not 2"),
        ("Latency (absolute)", "Latency (relative)", "latency summary must be one row under"),
        ("| Estimated|", "| Estimate |", "timing summary must be one clock with"),
        ("== Vitis HLS Report", "== Catapult HLS Report", "title must be '== Vivado HLS Report for' or"),
    ],
)  # fmt: skip
def test_damage_in_csynth_rpt_is_refused_with_its_line(tmp_path, old, new, error):
    path = changed(tmp_path, "vitis_2023_csynth.rpt", (old, new))
    with pytest.raises(ValueError, match=error):
        parse_csynth_rpt(path)


def test_what_csynth_rpt_does_not_know_is_none(tmp_path):
    unknown = (
        "|       11|       13|  27.500 ns|  32.500 ns|    1|    2|",
        "|        ?|        ?|          ?|          -|    ?|  N/A|",
    )
    path = changed(
        tmp_path,
        "vitis_2023_csynth.rpt",
        unknown,
        (
            "|     0|\n+---------------------+---------+-------+---------+---------+------+\n|Available SLR",
            "|     -|\n+---------------------+---------+-------+---------+---------+------+\n|Available SLR",
        ),
    )
    row = csynth_row(parse_csynth_rpt(path))
    assert (row.latency_cycles, row.latency_ns, row.interval_cycles, row.uram) == (None,) * 4
    assert (row.lut, row.bram, row.period_ns, row.tool) == (17171, 2, 1.801, "Vitis HLS 2023.2 (csynth.rpt)")


def test_latency_longer_than_a_microsecond(tmp_path):
    path = changed(tmp_path, "vitis_2023_csynth.rpt", ("  27.500 ns|  32.500 ns", "   5.220 us|   1.5 ms  "))
    assert parse_csynth_rpt(path) == replace(VITIS_2023, latency_min_ns=5220.0, latency_max_ns=1.5e6)


def test_csynth_xml_is_read():
    assert csynth_row(parse_csynth_xml(REPORTS / "csynth.xml")) == PARSED


def test_the_older_spelling_of_dsp(tmp_path):
    path = changed(tmp_path, "csynth.xml", ("<DSP>57</DSP>", "<DSP48E>58</DSP48E>"))
    assert csynth_row(parse_csynth_xml(path)) == replace(PARSED, dsp=58)


@pytest.mark.parametrize("value", ["undef", "", "N/A", " undef ", "?", "-"])
def test_latency_that_the_tool_does_not_know_is_none(tmp_path, value):
    path = changed(tmp_path, "csynth.xml", (">13<", f">{value}<"), ("<Interval-max>2<", f"<Interval-max>{value}<"))
    row = csynth_row(parse_csynth_xml(path))
    assert row == replace(PARSED, latency_cycles=None, latency_ns=None, interval_cycles=None)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("<LUT>17171</LUT>", {"lut": None}),
        ("<FF>4242</FF>", {"ff": None}),
        ("<DSP>57</DSP>", {"dsp": None}),
        ("<BRAM_18K>0</BRAM_18K>", {"bram": None}),
        ("<URAM>0</URAM>", {"uram": None}),
        ("<LUT>1728000</LUT>", {"lut_available": None}),
        ("<TargetClockPeriod>2.50</TargetClockPeriod>", {"clock_ns": None, "latency_ns": None}),
        ("<Worst-caseLatency>13</Worst-caseLatency>", {"latency_cycles": None, "latency_ns": None}),
        ("<Part>xcvu13p-flga2577-2-e</Part>", {"part": "unknown"}),
        ("<Version>2024.1</Version>", {"tool": "unknown version (csynth.xml)"}),
    ],
)
def test_what_is_missing_is_none_and_never_zero(tmp_path, line, fields):
    assert csynth_row(parse_csynth_xml(changed(tmp_path, "csynth.xml", (line, "")))) == replace(PARSED, **fields)


def test_an_interval_that_varies(tmp_path):
    pipelined = "PipelineInitiationInterval>"
    path = changed(tmp_path, "csynth.xml", (f"<{pipelined}1</{pipelined}", f"<{pipelined}5 ~ 1,028</{pipelined}"))
    report = parse_csynth_xml(path)
    assert (report.throughput_min_cycles, report.throughput_max_cycles) == (5, 1028)
    assert (report.latency_min_cycles, report.latency_average_cycles, report.latency_max_cycles) == (11, 12, 13)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (">17171<", ">many<", r"csynth\.xml:32: AreaEstimates/Resources/LUT must be a number, not 'many'; the report"),
        (">4242<", ">0x10<", r"csynth\.xml:31: AreaEstimates/Resources/FF must be a number, not '0x10'"),
        ("<unit>ns</unit>", "<unit>ps</unit>", r"csynth\.xml:8: UserAssignments/unit must be ns, not 'ps'"),
        ("</FF>", "</LUT>", r"csynth\.xml:31: report must be a whole XML document: mismatched tag"),
        ("<profile>", "<report>", r"csynth\.xml:3: root must be <profile>, not <report>; give a"),
    ],
)
def test_damage_in_csynth_xml_is_refused_with_its_line(tmp_path, old, new, error):
    with pytest.raises(ValueError, match=error):
        parse_csynth_xml(changed(tmp_path, "csynth.xml", (old, new)))


def test_utilisation_of_7_series():
    report = parse_utilisation(REPORTS / "synthesised_7series.rpt")
    assert (report.design, report.device, report.state) == ("older", "7k325tffg900-2", "Synthesized")
    assert report.lut == Site(1200, 0, 203800, 0.59)
    assert report.ff == Site(900, 0, 407600, 0.22)
    assert report.bram_tiles == Site(2.5, 0, 445, 0.56)
    assert report.dsp == Site(8, 0, 840, 0.95)
    assert report.uram is None
    assert report.sites["LUT as Shift Register"] == Site(0, 0, None, None)
    assert report.sites["DSP48E1 only"] == Site(8, None, None, None)
    assert report.sites["RAMB36/FIFO"].used == 2
    assert report.sites["F7 Muxes"] == Site(1, 0, 101900, 0.0)
    assert report.primitives == {"LUT2": 1200, "FDRE": 900}
    assert utilisation_row(report) == Resources(
        LOGIC, "Vivado v.2019.1 (lin64) Build 3 Tue Jan  1 12:00:00 MDT 2019", "7k325tffg900-2", None, 1200, 900, 8, 5,
        None, None, None, None, None, None, 203800, 407600, 840, 890, None, "Tue Jan  1 13:00:00 2019",
    )  # fmt: skip


def test_utilisation_of_ultrascale():
    report = parse_utilisation(REPORTS / "routed_ultrascale.rpt")
    assert report.stage == ROUTED
    assert report.sites["CARRY8"] == Site(700, 0, 216000, 0.32)
    # the table by SLR repeats the names, and is not taken for the whole
    row = utilisation_row(report)
    assert (row.lut, row.ff, row.dsp, row.bram, row.uram) == (11000, 5000, 41, 2, 0)
    available = (row.lut_available, row.ff_available, row.dsp_available, row.bram_available, row.uram_available)
    assert available == (1728000, 3456000, 12288, 5376, 1280)


def test_utilisation_by_hierarchy():
    row = utilisation_row(parse_utilisation(REPORTS / "hierarchical.rpt"))
    assert (row.stage, row.lut, row.ff, row.dsp, row.bram, row.uram) == (ROUTED, 11000, 5000, 41, 3, 0)
    assert row.lut_available is None


@pytest.mark.parametrize(("state", "stage"), [("Fully Placed", PLACED), ("Physopt postRoute", ROUTED)])
def test_stage_by_the_state_of_the_design(tmp_path, state, stage):
    path = changed(tmp_path, "routed_ultrascale.rpt", ("Fully Routed", state))
    assert parse_utilisation(path).stage == stage


@pytest.mark.parametrize(
    ("name", "old", "new", "error"),
    [
        ("routed_ultrascale.rpt", "Fully Routed", "Partially Routed", "Design State must be one of .*, not"),
        ("routed_ultrascale.rpt", "report_utilization", "report_power", "Command must be report_util"),
        ("routed_ultrascale.rpt", "| Design       : l1ad\n", "", "head of the report must name the Design"),
        ("routed_ultrascale.rpt", "| CLB LUTs      | 11000 |", "| CLB LUTs      |  N/A  |", "Used of CLB LUTs must"),
        ("routed_ultrascale.rpt", "| CLB LUTs      |", "| LUTs          |", "report must tell LUTs and registers"),
        ("routed_ultrascale.rpt", "\n2. BLOCKRAM\n---", "\n2. MEMORY\n---", r"BLOCKRAM.* must follow line"),
        ("hierarchical.rpt", "(top)", "core1", r"first module of the hierarchy must be \(top\), not 'core1'"),
        ("hierarchical.rpt", "11000(0.64%)", "-(0.64%)    ", "Total LUTs must be a number, not '-'"),
        ("timing_failing.rpt", "-0.421      -37.500", "-0.42l      -37.500", r"rpt:32: WNS\(ns\) must be a number"),
        ("timing_failing.rpt", "-0.421      -37.500", "-0.421             ", "a figure for each of 12 columns, not 11"),
        ("timing_failing.rpt", "    WNS(ns)      TNS", "    WNS(ns)      Sum", "timing summary must have columns of"),
        ("timing_failing.rpt", "Timing constraints are not met.", "", "timing summary must say one of"),
        ("timing_failing.rpt", "2.500           400", "   ?            400", "clock must have a name, waveform"),
        ("timing_failing.rpt", "ap_clk  {0.000 1.250}        2.500           400.000", "", "clocks and constraints"),
        ("timing_failing.rpt", "                slack  ", "                plack  ", "must end with a whole path"),
        ("cosim.rpt", "Pass", "Fail", r"cosim\.rpt:12: Status must be Pass, not 'Fail'; RTL and C disagree"),
        ("cosim.rpt", "      Pass", "        NA", "one RTL must have been simulated, not 0; co-simulate again"),
        ("cosim.rpt", "             13|", "             1x|", r"cosim\.rpt:12: Latency max must be a number, not '1x'"),
        ("generation_info.vhd", "HLS_SYN_LUT=2412", "HLS_SYN_LUT=lots", "vhd:15: HLS_SYN_LUT must be a number, not"),
        ("generation_info.vhd", "HLS_SYN_LUT=2412", "HLS_SYN_LUT", "must hold distinct KEY=value, not 'HLS_SYN_LUT'"),
        ("generation_info.vhd", "HLS_SYN_LUT=2412", "HLS_SYN_FF=1", "must hold distinct KEY=value, not 'HLS_SYN_FF=1'"),
    ],
)  # fmt: skip
def test_damage_is_refused_with_its_line(tmp_path, name, old, new, error):
    path = changed(tmp_path, name, (old, new))
    with pytest.raises(ValueError, match=error) as refused:
        parser_of(name)(path)
    assert str(refused.value).removeprefix(f"{path}:")[0].isdigit()


def test_timing_that_fails():
    report = parse_timing(REPORTS / "timing_failing.rpt")
    assert report == Timing(
        design="l1ad", device="xcvu13p-flga2577", state="Routed", stage=ROUTED,
        tool="Vivado v.2023.2 (lin64) Build 4 Mon Jan  1 12:00:00 MST 2024", date="Mon Jan  1 15:02:00 2024", met=False,
        clocks={"ap_clk": 2.5}, wns_ns=-0.421, tns_ns=-37.5, tns_failing=120, tns_endpoints=10100,
        whs_ns=0.031, ths_ns=0.0, ths_failing=0, ths_endpoints=10100,
        wpws_ns=0.975, tpws_ns=0.0, tpws_failing=0, tpws_endpoints=5001,
    )  # fmt: skip
    assert period_ns(report) == (2.5, 2.921)
    assert period_ns(replace(report, clocks={"a": 2.5, "b": 5.0})) == (None, None)


def test_timing_without_constraints_has_no_slack():
    report = parse_timing(REPORTS / "timing_unconstrained.rpt")
    figures = [report.wns_ns, report.tns_ns, report.tns_failing, report.tns_endpoints, report.whs_ns, report.wpws_ns]
    assert figures == [None] * 6
    assert (report.met, report.clocks, report.stage, period_ns(report)) == (None, {}, None, (None, None))


def test_slack_without_any_path_is_none(tmp_path):
    none = "         NA           NA                     NA                   NA"
    path = changed(
        tmp_path,
        "timing_unconstrained.rpt",
        (none, "        inf        0.000                      0                   52"),
    )
    report = parse_timing(path)
    assert (report.wns_ns, report.tns_endpoints, report.met) == (None, 52, None)


def test_timing_that_is_met(tmp_path):
    met = ("Timing constraints are not met.", "All user specified timing constraints are met.")
    path = changed(tmp_path, "timing_failing.rpt", met, ("     -0.421      -37.500", "      0.050        0.000"))
    report = parse_timing(path)
    assert (report.met, period_ns(report)) == (True, (2.5, 2.45))


@pytest.mark.parametrize(("nets", "stage"), [("routed", ROUTED), ("estimated", PLACED), ("unplaced", LOGIC)])
def test_without_a_state_the_nets_tell_the_stage(tmp_path, nets, stage):
    path = changed(tmp_path, "timing_failing.rpt", ("| Design State : Routed\n", ""), ("routed)", f"{nets})"))
    report = parse_timing(path)
    assert (report.state, report.stage) == (None, stage)


def test_cosimulation():
    assert parse_cosim(REPORTS / "cosim.rpt") == Cosimulation(
        "Mon Jan  1 12:30:00 CET 2024", "solution1", "xsim", "Verilog", 12, 12, 13, 1, 1, 2, 1024
    )


def test_cosimulation_without_total_and_of_one_transaction(tmp_path):
    text = (REPORTS / "cosim.rpt").read_text().replace("              1|              1|              2|", "NA|NA|NA|")
    older = "\n".join(line[: line.rindex("|", 0, -1) + 1] if line[:1] == "|" else line for line in text.split("\n"))
    path = tmp_path / "cosim.rpt"
    path.write_text(older)
    report = parse_cosim(path)
    assert (report.latency_max_cycles, report.interval_max_cycles, report.total_cycles) == (13, None, None)


def test_generation_info():
    assert parse_generation_info(REPORTS / "generation_info.vhd") == GenerationInfo(
        "older", "hls_ip_2019_1", "2019.1", "xc7k325tffg900-2", "pipeline", "cxx", 5.0, 4.3746, 14, 1, 0, 8, 1321, 2412
    )
    assert parse_generation_info(REPORTS / "generation_info.v") == GenerationInfo(
        "l1ad", "hls_ip_2023_2", "2023.2", "xcvu13p-flga2577-2-e", "others", "cxx", 2.5, 1.801, None, None, 2, 57, 4242,
        17171,
    )  # fmt: skip


def test_generation_info_that_lacks_figures(tmp_path):
    path = changed(tmp_path, "generation_info.v", ("HLS_SYN_DSP=57,", ""), (",HLS_VERSION=2023_2", ""))
    info = parse_generation_info(path)
    assert (info.dsp, info.version, info.lut) == (None, None, 17171)


TABLE = Report("r", ("a", "b"))


@pytest.mark.parametrize("text", ["", "-", "?", "N/A", "NA", " undef ", "none", "inf"])
def test_cells_that_say_nothing(text):
    assert integer(TABLE, 1, "x", text) is number(TABLE, 1, "x", text) is percent(TABLE, 1, "x", text) is None
    assert duration_ns(TABLE, 1, "x", text) is None


def test_cells_that_say_something():
    assert integer(TABLE, 1, "x", "1,728,000") == 1728000
    assert number(TABLE, 1, "x", "4.9e+05") == 490000
    assert percent(TABLE, 1, "x", "~0") == percent(TABLE, 1, "x", "<0.01") == 0
    assert bounds(TABLE, 1, "x", "1 ~ 14") == (1, 14)
    assert bounds(TABLE, 1, "x", "7") == (7, 7)
    assert bounds(TABLE, 1, "x", "? ~ 7") == (None, 7)
    assert duration_ns(TABLE, 1, "x", "0 ns") == 0


def test_published_results(tmp_path):
    path = tmp_path / "published.csv"
    header = "design,target_clock_ns,latency_cycles,da4ml_cost,lut,ff,dsp,wns_ns\n"
    path.write_text(header + "mine,2.0,3,10.5,11,12,0,-0.5\n")
    assert read_post_route(path) == (PostRoute("mine", 2.0, 3, 10.5, 11, 12, 0, -0.5),)
    path.write_text(header + "mine,2.0,3,10.5,11,12,0,-0.5\nmine,2.0,3,10.5,,12,0,-0.5\n")
    with pytest.raises(ValueError, match=r"published\.csv:3: row must hold one value for each of .*; mend the row"):
        read_post_route(path)
    path.write_text(header + "mine,2.0,3,10.5,1\n")
    with pytest.raises(ValueError, match=r"published\.csv:2: row must hold"):
        read_post_route(path)
    path.write_text("design\n")
    with pytest.raises(ValueError, match=r"published\.csv:1: columns must be"):
        read_post_route(path)
