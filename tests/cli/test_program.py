"""The program among others: its names, its readers, its terminal, and directories it may only read."""

import os
import pty
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from command_help import COMMANDS
from conftest import environment

MODULE = (sys.executable, "-m", "sheafcli")


def module(*arguments, **changes):
    """Run the program as a module and return what it came to."""
    return subprocess.run(
        [*MODULE, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(**changes),
    )


# How it is called ---------------------------------------------------------------------------


def test_it_runs_as_a_module(folder):
    assert module("--version").stdout.startswith("sheafcli ")
    assert module("--help").stdout.startswith("Usage: sheaf [OPTIONS]")
    assert module("validate", "nowhere.yaml").returncode == 2


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_h_is_help(sheaf, command):
    short, long = (sheaf(*command.split(), option) for option in ("-h", "--help"))
    assert short == long
    assert short.code == 0
    assert "-h, --help" in short.out


@pytest.mark.parametrize("word", ["bash_source", "source_bash", "zsh_source", "source_fish"])
def test_the_completion_script_is_printed_in_either_order_of_its_words(folder, word):
    done = module(_SHEAF_COMPLETE=word)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_SHEAF_COMPLETE" in done.stdout


def test_completion_knows_commands_and_options(folder):
    def completed(line):
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
        return module(_SHEAF_COMPLETE="complete_bash", **words).stdout.split()

    assert completed("sheaf di") == ["diagnose", "diff", "diffuse"]
    assert "--fail-on" in completed("sheaf diagnose --f")


def imported(command, *arguments):
    """Return the top-level packages that a command imports."""
    done = module(command, *arguments, PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    return {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_what_needs_no_command_imports_none(folder, option):
    assert not imported(option) & {"numpy", "scipy", "pandas", "pydantic", "matplotlib", "yaml"}


def test_a_configuration_is_checked_without_tables_and_pictures(folder):
    assert not imported("validate", "small.yaml") & {"pandas", "matplotlib", "plotly", "jinja2"}


@pytest.mark.parametrize(("chosen", "threads"), [({}, "1"), ({"OMP_NUM_THREADS": "2"}, "None")])
def test_one_blas_thread_unless_the_user_chooses(folder, chosen, threads):
    ends = "sys.argv = ['sheaf', '--version']\ntry: main()\nexcept SystemExit: pass"
    shown = "print(os.environ.get('OPENBLAS_NUM_THREADS'))"
    code = f"import os, sys\nfrom sheafcli.__main__ import main\n{ends}\n{shown}"
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=free | chosen
    )
    assert done.stdout.split()[-1] == threads


def test_completion_is_offered_by_options(sheaf):
    assert "--install-completion" in sheaf("--help").out
    assert "--show-completion" in sheaf("--help").out


# Who reads ----------------------------------------------------------------------------------


def outlived(start, *arguments):
    """Run a command whose reader goes before the first line; return its status and error stream."""
    ours, theirs = os.pipe()
    errors, theirs_too = os.pipe()
    os.close(ours)
    process = start(*arguments, streams={"stdout": theirs, "stderr": theirs_too})
    os.close(theirs)
    os.close(theirs_too)
    with open(errors) as stream:
        told = stream.read()
    return process.wait(), told


@pytest.mark.parametrize(
    "arguments",
    [
        ("diagnose", "run"),
        ("diagnose", "run", "--format", "csv"),
        ("diagnose", "run", "--format", "json"),
        ("compare", "run"),
        ("runs", "."),
        ("validate", "small.yaml"),
        ("--help",),
        ("--version",),
    ],
)
def test_a_reader_that_has_gone_is_no_failure(start, run, arguments):
    assert outlived(start, *arguments) == (0, "")


def test_a_run_is_whole_when_its_reader_has_gone(start, run):
    assert outlived(start, "train", "small.yaml", "--output", "other") == (0, "")
    assert len(list(Path("other/figures").iterdir())) == 4
    assert outlived(start, "diagnose", "run", "--figures") == (0, "")
    assert len(list(Path("run/figures").iterdir())) == 4


def test_a_failure_stays_one_when_its_reader_has_gone(start, run):
    status, told = outlived(start, "compare", "run", "nowhere")
    assert status == 2
    assert told.startswith("error: nowhere: ")


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no /dev/full, a disk that is always full"
)
@pytest.mark.parametrize(
    "arguments", [("runs", "."), ("validate", "small.yaml"), ("compare", "run", "--format", "csv")]
)
def test_output_that_cannot_be_written_is_an_error_without_a_traceback(start, run, arguments):
    errors, theirs = os.pipe()
    with open("/dev/full", "w") as full:
        process = start(*arguments, streams={"stdout": full.fileno(), "stderr": theirs})
    os.close(theirs)
    with open(errors) as stream:
        assert stream.read() == "error: No space left on device\n"
    assert process.wait() == 1


def test_letters_that_the_encoding_lacks_are_escaped(folder):
    Path("größe.yaml").write_text(Path("small.yaml").read_text())
    done = module("validate", "größe.yaml", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.startswith(r"gr\xf6\xdfe.yaml: valid.")


# Text of others -----------------------------------------------------------------------------

HOSTILE = "a\x1b[31mb\x07\u202ec"
SHOWN = r"a\x1b[31mb\x07\u202ec"


def test_names_of_files_do_not_command_the_terminal(sheaf, run):
    Path(f"{HOSTILE}.yaml").write_text(Path("small.yaml").read_text().replace("name: small\n", ""))
    run.rename(HOSTILE)
    for arguments in (
        ("validate", f"{HOSTILE}.yaml"),
        ("validate", f"no {HOSTILE}.yaml"),
        ("diagnose", HOSTILE),
        ("diagnose", HOSTILE, "--data", f"{HOSTILE}.npz"),
        ("runs", HOSTILE),
        ("compare", HOSTILE, HOSTILE),
        ("spectrum", HOSTILE, "--limit", "2"),
    ):
        outcome = sheaf(*arguments)
        assert not set(outcome.out + outcome.err) & {"\x1b", "\x07", "\u202e"}, arguments
    assert SHOWN in sheaf("diagnose", HOSTILE).out


@pytest.mark.parametrize("command", ["diagnose", "compare", "spectrum", "report", "train"])
def test_a_directory_need_not_be_called_in_utf_8(start, finish, run, command):
    strange = os.fsencode("run") + b"\xff"
    os.rename("run", strange)
    more = {"train": ("--resume",), "compare": ("--figure", "both.png"), "spectrum": ("--limit", "2")}
    first = ("small.yaml", "--output") if command == "train" else ()
    outcome = finish(start(command, *first, os.fsdecode(strange), *more.get(command, ())))
    assert outcome.code == 0, outcome
    assert command == "compare" or r"run\xff" in outcome.out


def test_column_names_on_a_terminal_are_escaped_and_in_a_pipe_exact(folder, start):
    rows = "".join(f"{i % 7},{i % 3},{'ab'[i % 2]}\x1b[31m\n" for i in range(40))
    Path("t.csv").write_text("x\x1b[31m,w,y\n" + rows)
    Path("t.yaml").write_text(
        "task: {kind: csv, path: t.csv, target: y}\nnetwork: {hidden: [3]}\ntraining: {steps: 20}\n"
    )
    assert start("train", "t.yaml", "--output", "run", "--quiet").wait() == 0
    ours, theirs = pty.openpty()
    process = start(
        "diagnose", "run", "--format", "csv", streams={"stdout": theirs, "stderr": theirs}, TERM="dumb"
    )
    os.close(theirs)
    told = b""
    try:
        while chunk := os.read(ours, 65536):
            told += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    assert process.wait() == 0
    assert b"\x1b[31m" not in told


# Where nothing can be written ---------------------------------------------------------------


@pytest.fixture
def read_only(run):
    """A run that may be read and not written, also by a superuser, who would not be asked."""
    for path in (*run.rglob("*"), run):
        path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    yield run
    for path in (run, *run.rglob("*")):
        path.chmod(stat.S_IRWXU)


def as_a_user(*arguments):
    """Run the program without a superuser's right to write everywhere."""
    bounds = "-dac_override,-dac_read_search,-fowner"
    drop = ("setpriv", f"--bounding-set={bounds}", f"--inh-caps={bounds}") if os.getuid() == 0 else ()
    return subprocess.run(
        [*drop, *MODULE, *map(str, arguments)], capture_output=True, text=True, check=False, env=environment()
    )


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("diagnose", "run"), "run/diagnosis.csv"),
        (("diagnose", "run", "--format", "json"), "run/diagnosis.csv"),
        (("spectrum", "run", "--limit", "3"), "run/spectrum.csv"),
        (("diffuse", "run"), "run/figures"),
    ],
)
def test_of_a_run_that_cannot_be_written_all_is_printed(sheaf, read_only, arguments, missing):
    done = as_a_user(*arguments)
    assert done.returncode == 0, done
    assert re.fullmatch(rf"note: not written: {missing}\S* \(Permission denied\), .*\n", done.stderr)
    for path in (read_only, *read_only.rglob("*")):
        path.chmod(stat.S_IRWXU)
    written = sheaf(*arguments)
    assert done.stdout.rstrip() == written.out.partition("\nWritten")[0].rstrip()


def test_a_report_on_a_run_that_cannot_be_written_goes_elsewhere(read_only):
    done = as_a_user("report", "run")
    assert done.returncode == 2
    assert "--output FILE" in done.stderr
    assert as_a_user("report", "run", "--output", "page.html").returncode == 0
    assert Path("page.html").stat().st_size > 10_000


def test_an_output_that_was_asked_for_is_not_done_without(sheaf, run):
    Path("file").touch()
    assert sheaf("diffuse", run, "--output", "file/below").code == 1


# Ctrl-C -------------------------------------------------------------------------------------

EARLY = """
import builtins, os, signal, sys
real, count = builtins.__import__, 0
def counting(*arguments, **options):
    global count
    count += 1
    if count == NUMBER:
        os.kill(os.getpid(), signal.SIGINT)
    return real(*arguments, **options)
signal.signal(signal.SIGINT, signal.default_int_handler)
from sheafcli.__main__ import main
builtins.__import__ = counting
sys.argv = ["sheaf", "runs", "."]
main()
"""


@pytest.mark.parametrize("number", [2, 50, 500, 3000])
def test_ctrl_c_while_the_program_loads_is_told_in_a_line(folder, number):
    code = EARLY.replace("NUMBER", str(number))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment()
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: interrupted\n")


def test_the_package_itself_imports_nothing(folder):
    code = (
        "import sys, sheafcli.__main__; print(sorted({'numpy', 'scipy', 'typer', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


HEAVY = {"matplotlib", "torch", "sklearn", "onnx", "onnxruntime", "plotly", "optuna", "dask", "scipy.stats"}


@pytest.mark.parametrize("command", ["validate", "diagnose"])
def test_a_short_command_loads_no_library_that_it_does_not_need(run, command):
    target = run / "config.yaml" if command == "validate" else run
    code = (
        "import sys\n"
        "from sheafcli.__main__ import main\n"
        f"sys.argv = ['sheaf', {command!r}, {str(target)!r}]\n"
        "try:\n    main()\n"
        f"finally:\n    print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment()
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[]")


def test_ctrl_c_ends_any_command_with_status_1(sheaf, run, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sheafcli.cli.diagnose.examine_run", interrupted)
    before = signal.getsignal(signal.SIGINT)
    outcome = sheaf("diagnose", run)
    assert (outcome.code, outcome.out, outcome.err) == (1, "", "error: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before
