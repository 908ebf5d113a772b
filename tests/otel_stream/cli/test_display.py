"""What a person sees, as text."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from otel_stream.cli.display import PlainView, ReportLines, TerminalView, panel, styled
from otel_stream.cli.summary import Outcome, one_line, print_summary
from otel_stream.cli.tally import Account, NodeTally, Tally
from otel_stream.stream.modes import StreamPart
from otel_stream.stream.statistics import ModeStatistics, ReceiverStatistics

STATISTICS = ReceiverStatistics(
    offered=1240,
    delivered=1234,
    dropped=6,
    sampled_out=0,
    filtered=0,
    held=0,
    high_water=9,
    by_mode={
        "values": ModeStatistics(offered=1200, delivered=1194, dropped=6),
        "messages": ModeStatistics(offered=40, delivered=40),
    },
    reasons={"drop_oldest": 6},
)
ACCOUNT = Account(("values", "messages", "debug"), STATISTICS)


def tally() -> Tally:
    return Tally(
        nodes={
            "discover": NodeTally(started=1, done=1, retries=2),
            "parse": NodeTally(started=1204, done=1200, failed=1),
        },
        supersteps=12,
        nested_supersteps=519,
        files=2000,
        audited=1000,
        queued=5,
        place="email/parser.py",
        author="deterministic writer",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    )


def console(terminal: bool = False) -> Console:
    return Console(
        width=100,
        record=True,
        highlight=False,
        force_terminal=terminal,
        file=open_nothing(),
        legacy_windows=False,
    )


def open_nothing() -> SimpleNamespace:
    return SimpleNamespace(write=lambda _: None, flush=lambda: None, isatty=lambda: False, encoding="utf-8")


def shown(con: Console) -> list[str]:
    return [line.rstrip() for line in con.export_text().splitlines()]


def token(text: str) -> StreamPart:
    return StreamPart("messages", (), (SimpleNamespace(content=text, id="report"), {}))


def test_the_panel_shows_progress_nodes_and_modes_side_by_side() -> None:
    con = console()
    con.print(panel(tally(), ACCOUNT))
    assert shown(con) == [
        "",
        "files audited        ━━━━━━━━━━━━━━━                 1,000 of 2,000",
        "functions inspected                                  0 of 5",
        "",
        "node        in flight   done  failed  retries    mode         offered  delivered  dropped  held",
        "discover            0      1       0        2    values         1,200      1,194        6     0",
        "parse               3  1,200       1        0    messages          40         40        0     0",
        "                                                 debug              0          0        0     0",
        "email/parser.py",
    ]


def test_where_there_is_no_room_tables_stand_one_above_the_other() -> None:
    con = console()
    con.width = 60
    con.print(panel(tally(), ACCOUNT))
    assert shown(con)[4:] == [
        "node        in flight   done  failed  retries",
        "discover            0      1       0        2",
        "parse               3  1,200       1        0",
        "",
        "mode         offered  delivered  dropped  held",
        "values         1,200      1,194        6     0",
        "messages          40         40        0     0",
        "debug              0          0        0     0",
        "email/parser.py",
    ]


def test_the_summary_accounts_for_nodes_parts_trace_and_telemetry() -> None:
    con = console()
    outcome = Outcome(tally=tally(), account=ACCOUNT, seconds=3.21)
    print_summary(con, outcome, ["Exported 3 spans to f", "LOST 1 span"], ["something was cut off"])
    assert shown(con) == [
        "",
        "node         done  failed  retries    mode         offered  delivered  dropped",
        "discover        1       0        2    values         1,200      1,194        6",
        "parse       1,200       1        0    messages          40         40        0",
        "                                      debug              0          0        0",
        "",
        "supersteps 12, 519 in subgraphs, in 3.2 s",
        "author     deterministic writer",
        "trace      4bf92f3577b34da6a3ce929d0e0e4736",
        "telemetry  Exported 3 spans to f",
        "           LOST 1 span",
        "note       something was cut off",
    ]


def test_one_line_is_enough_beside_json() -> None:
    outcome = Outcome(tally=tally(), account=ACCOUNT)
    assert one_line(outcome, ["Exported 3 spans to f"]) == (
        "1,234 parts, 6 dropped. Trace 4bf92f3577b34da6a3ce929d0e0e4736. Exported 3 spans to f."
    )


def test_the_report_is_printed_line_by_line_as_it_is_complete() -> None:
    con = console()
    report = ReportLines(con)
    for text in ["Audit", " of x\n", "\nBy rule", "\n  low", " 3 a", "b"]:
        report.add(text)
    assert con.export_text(clear=False) == "\nAudit of x\n\nBy rule\n"
    assert report.line == "  low 3 ab"
    report.close()
    assert con.export_text() == "\nAudit of x\n\nBy rule\n  low 3 ab\n"


def test_styling_changes_no_text() -> None:
    line = "  high   importlib/_bootstrap.py:980 exec() runs text [eval-exec]"
    assert styled(line).plain == line
    assert [str(span.style) for span in styled(line).spans] == ["bold red", "green"]


def test_without_a_terminal_there_are_a_few_lines_then_the_report() -> None:
    con, sums = console(), Tally()
    with PlainView(con, sums) as view:
        for data in [
            {"stage": "discover", "files": 10, "bytes": 1},
            *({"stage": "audit", "file": f"{n}.py", "number": n, "of": 10, "findings": 1} for n in range(10)),
            {"stage": "rank", "queued": 5},
            {"stage": "deepen", "place": "1.py:1", "function": "f", "queued": 4},
        ]:
            part = StreamPart("custom", (), data)
            sums.add(part)
            view.show(part)
        view.show(token("The re"))
        view.show(token("port.\nEnd"))
    assert shown(con) == [
        "files found: 10",
        "3 of 10 files audited, findings: 3",
        "5 of 10 files audited, findings: 5",
        "8 of 10 files audited, findings: 8",
        "10 of 10 files audited, findings: 10",
        "functions queued for a closer look: 5",
        "",
        "The report.",
        "End",
    ]


def test_in_a_terminal_the_report_stays_and_the_panel_goes() -> None:
    con = console(terminal=True)
    with TerminalView(con, tally(), lambda: ACCOUNT) as view:
        for text in ["Audit of", " x\nEnd"]:
            view.show(token(text))
    text = con.export_text()
    assert "Audit of x\n" in text
    assert text.count("files audited") > 1
    assert text.endswith("\nEnd\n")


@pytest.mark.parametrize(
    ("outcome", "code", "verdict"),
    [
        (Outcome(), 0, ""),
        (Outcome(error=ValueError("it broke")), 1, "the run failed: it broke"),
        (Outcome(error=ValueError()), 1, "the run failed: ValueError"),
        (Outcome(receiver_failed=RuntimeError("full")), 1, "the run went on without its consumer: full"),
        (
            Outcome(interrupted=True),
            130,
            "interrupted: the run was cancelled, and what it had done so far is shown",
        ),
        (Outcome(unread=True), 141, ""),
    ],
)
def test_every_end_has_its_exit_code_and_sentence(outcome: Outcome, code: int, verdict: str) -> None:
    assert (outcome.code, outcome.verdict()) == (code, verdict)
