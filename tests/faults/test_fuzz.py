"""Random command lines: each is a valid request, or a mistake that is told in one message with status 2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from whole_runs import train_to_the_end

from mixbench.cli import run
from mixbench.config.compose import compose
from mixbench.config.identity import flat, run_id
from mixbench.config.library import conf_dir
from mixbench.config.options import options
from mixbench.config.overrides import canonical, expand
from mixbench.schema.train import GROUPS, Train

OPTIONS = [
    f"{group}={path.stem}"
    for group in GROUPS
    for path in sorted((conf_dir() / group).glob("*.yaml"))
    if path.stem != "base"
]
KEYS = sorted(
    {*flat(compose([]))}
    | {
        f"{group}.{key}"
        for group in GROUPS
        for option in options(group)
        for key in option.values
        if key != "name"
    }
)
NUMBERS = st.one_of(
    st.integers(-3, 300).map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            "0",
            "-0",
            "-0.0",
            "1e999",
            "1e-999",
            "0x10",
            "1_000",
            "9" * 30,
            "9" * 5000,
            "1e30",
            "nan",
            "inf",
            ".5",
            "5.",
        ]
    ),
)
VALUES = st.one_of(
    NUMBERS,
    st.sampled_from(
        ["", "null", "true", "false", "[]", "{}", "[0.5,0.75]", "[[1]]", "{a:1}", "{a:{b:{c:[1,2]}}}", "'", '"',
         "'a b'", "a b", "a,b", "0.1,0.2", "1,,2", "range(0,3)", "choice(1,2)", "interval(0,1)", "glob(*)", "sort(3,1)",
         "int(1.5)", "range(0", "${seed}", "${opt.lr}", "${nothing}", "${oc.env:HOME}", "${", "$", "???", "=", "a=b",
         "\\", "\\n", "../../etc", "/", "~", "*", "%", "bf16", "cpu", "cuda:7", "step", "gmix", "-1",
         "range(0,10,-1)", "range(10,0)", "range(0,3,0)", "range(0,inf)", "range(nan)", "interval(0,nan)", "[[0.1]]",
         f"{'[' * 500}1{']' * 500}", "../opt/sam", "'~nobodyhere/x'", "a=b,c", "it's [1]", "Größe", "[mixup,cutmix]"]
    ),
    st.text(max_size=12),
    st.text(alphabet="[]{},:'\"$()\\= 0a", max_size=12),
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(KEYS),
    st.sampled_from(KEYS).map(lambda key: key[:-1]),
    st.sampled_from([*GROUPS, "augmenter", "optimizer", "hydra/launcher", "hydra.sweeper", "schema/opt", "paper", ""]),
    st.text(alphabet="abco._-/@", max_size=8),
)  # fmt: skip
OVERRIDES = st.one_of(
    st.sampled_from(OPTIONS),
    st.tuples(st.sampled_from(["", "", "", "+", "++", "~"]), NAMES, VALUES).map(
        lambda t: f"{t[0]}{t[1]}={t[2]}"
    ),
    st.text(max_size=10),
)
QUIET: dict = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def outcome(capfd: pytest.CaptureFixture, arguments: list[str]) -> int:
    """The exit status; fails on a traceback, another status, or a mistake that is not told in a message."""
    capfd.readouterr()
    try:
        status = run(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    out, err = capfd.readouterr()
    assert status in (0, 2), err
    assert "Traceback" not in out + err
    if status == 2:
        assert re.match(r"mixbench|usage: mixbench", err), err
        assert len(err.splitlines()) < 60
    return status


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Train]:
    """What would be trained, in training's place."""
    configs: list[Train] = []
    monkeypatch.setattr("mixbench.commands.train.execute", configs.append)
    return configs


@pytest.mark.fault("fuzz")
@pytest.mark.parametrize("examples", [50, pytest.param(2000, marks=pytest.mark.long)])
def test_overrides(workplace: Path, asked: list, capfd, examples: int, record_property) -> None:
    """A request that is accepted is one config, with an identity that composing it once more gives again."""
    counts = [0, 0]

    @settings(max_examples=examples, **QUIET)
    @given(st.lists(OVERRIDES, max_size=4))
    @example(["~opt"])
    @example(["augment=glob(*)"])
    @example(["augmenter=0", "augment=cutmix"])
    @example(["opt.lr=${nothing}"])
    @example(["--experimental-rerun", "x"])
    def any_overrides(overrides: list[str]) -> None:
        asked.clear()
        status = outcome(capfd, ["train", *overrides])
        counts[0 if status == 0 else 1] += 1
        if status == 0 and asked:
            (cell,) = expand(canonical([o for o in overrides if not o.startswith("-")]))
            assert run_id(asked[0]) == run_id(compose(cell))

    any_overrides()
    record_property("faults", sum(counts))
    assert min(counts) > 0.03 * examples, counts


CONDITION = st.builds("{}{}{}".format, NAMES, st.sampled_from(["=", "!=", ">=", "<", "", "=="]), VALUES)
PLACES = st.sampled_from(["nowhere", ".", "outputs", "printed", "", "a/b"])
SPECS = st.sampled_from(["li2023/table1", "li2023/fig2", "printed", "nothing/at", ""]) | st.text(max_size=5)
SCALES = st.sampled_from(
    ["--epochs", "--seeds", "--budget", "--set", "--rows", "--cols", "--select", "--dry-run"]
)
WORDS = st.sampled_from(
    ["gmix", "sam", "--json", "verify", "path", "digits", "--sort", "--columns", "all", "test_acc"]
)
COMMANDS = {
    "runs": st.lists(CONDITION | WORDS, max_size=4),
    "table": st.tuples(SPECS, SCALES, VALUES | st.sampled_from(OPTIONS)).map(list),
    "figure": st.tuples(SPECS, SCALES | st.just("--out"), VALUES | st.sampled_from(OPTIONS)).map(list),
    "report": st.lists(st.sampled_from(["--out", "page.html"]) | PLACES, max_size=3),
    "methods": st.lists(WORDS | st.text(max_size=6), max_size=2),
    "data": st.lists(WORDS | st.text(max_size=6), max_size=2),
    "bench": st.lists(CONDITION | st.text(max_size=6), min_size=1, max_size=3).map(lambda a: [*a, "--", "no such"]),
}  # fmt: skip


@pytest.mark.fault("fuzz")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("examples", [15, pytest.param(150, marks=pytest.mark.long)])
def test_other_commands(workplace: Path, capfd, command: str, examples: int, record_property) -> None:
    """Status 0, 2, or 1 for what is not there; never a traceback. One finished run lies in the folder."""
    train_to_the_end(workplace / "printed", "epochs=1", f"output_dir={workplace / 'outputs'}")
    counted = [0]

    @settings(max_examples=examples, **QUIET)
    @given(COMMANDS[command])
    def any_arguments(arguments: list[str]) -> None:
        counted[0] += 1
        capfd.readouterr()
        try:
            status = run([command, *arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        err = capfd.readouterr().err
        assert status in (0, 1, 2)
        assert "Traceback" not in err
        assert status == 0 or err.startswith(("mixbench", "usage: mixbench")), err

    any_arguments()
    record_property("faults", counted[0])


@pytest.mark.parametrize(
    "arguments",
    [
        ["table", "li2023/table1", "--dry-run", "--seeds", "9" * 30],
        ["table", "li2023/table1", "--run", "--jobs", "9" * 30],
        ["train", "-m", "seed=0,1", "--jobs", "9" * 30],
        ["train", "-m", "seed=range(999999999999)"],
        ["train", "seed=range(999999999999)"],
    ],
    ids=" ".join,
)
def test_a_slip_of_the_finger_does_not_fill_the_memory(capfd, arguments: list[str]) -> None:
    """Status 2 in one message; listing what was asked for would end in the kernel's hands."""
    assert outcome(capfd, arguments) == 2
