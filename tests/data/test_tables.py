from __future__ import annotations

import os
import zipfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest

from mixbench.config.compose import compose
from mixbench.data.store import cache, prepare
from mixbench.data.tables import encoder, load_table, parts
from mixbench.errors import ConfigError, DataError
from mixbench.schema.tables import TABLES, Table

CMC = TABLES["cmc"]
PACKED = Path(os.environ.get("MIXBENCH_TEST_DATA") or Path(__file__).parents[3] / "shared/data")
REAL = PACKED / "uci_tabular.zip"


def cmc(seed: int = 0) -> list[list[str]]:
    """Rows of the form of cmc.data: age, children and seven categories, and the class."""
    generator = np.random.default_rng(seed)
    columns = [
        [str(v) for v in generator.choice(CMC.categories[i], CMC.rows)]
        if i in CMC.categories
        else [str(v) for v in generator.integers(16, 50, CMC.rows)]
        for i in range(CMC.columns)
    ]
    return [list(row) for row in zip(*columns, generator.choice(list("123"), CMC.rows), strict=True)]


def written(path: Path, rows: list[list[str]]) -> Path:
    text = "\n".join(["a,b,c,d,e,f,g,h,i,class", *map(",".join, rows)]) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cmc.data", text)
    return path


def test_files_and_openml_give_the_same_arrays_whatever_the_order_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenML's frame is made of the same rows in another order; its fetcher is not asked for more than that."""
    rows = cmc()
    files = prepare.import_from(CMC, written(tmp_path / "files.zip", rows), tmp_path / "files")
    turned = pd.DataFrame(rows[::-1])

    def fetch_openml(data_id: int, **_: object) -> tuple[pd.DataFrame, pd.Series]:
        assert data_id == 23
        return turned.drop(columns=9).astype({0: float, 3: float}), turned[9].astype("category")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
    openml = prepare.prepare(CMC, tmp_path / "openml")
    assert files.sha256 == openml.sha256
    assert files.state == "inexact"  # which the real one is not
    arrays = cache.read(tmp_path / "files", files)
    expected = pd.DataFrame(rows).astype(int).sort_values([9, *range(9)])
    assert np.array_equal(arrays["labels"], expected[9] - 1)
    for i in range(9):
        values = CMC.categories.get(i)
        kept = expected[i] if values is None else [values.index(str(v)) for v in expected[i]]
        assert np.array_equal(arrays["inputs"][:, i], kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[4].pop(), r"cmc.data, line 6: 9 values, expected are 10"),
        (lambda rows: rows[4].__setitem__(0, "old"), r"line 6, column 1: 'old' is not a number"),
        (lambda rows: rows[4].__setitem__(0, "inf"), r"line 6, column 1: 'inf' is not finite"),
        (lambda rows: rows[4].__setitem__(1, "5"), r"line 6, column 2: '5' is not one of 1, 2, 3, 4"),
        (lambda rows: rows.pop(), r"cmc has 1473 rows of 9 columns, found float64 \(1472, 9\)"),
        (lambda rows: rows[4].__setitem__(9, "4"), r"4 classes"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: object, message: str) -> None:
    rows = cmc()
    change(rows)  # type: ignore[operator]
    with pytest.raises(DataError, match=message):
        prepare.import_from(CMC, written(tmp_path / "files.zip", rows), tmp_path)


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ({(4, 0): "?"}, ", line 6, column 1: '?' is kept as a missing value"),
        ({(9, 3): ""}, ", line 11, column 4: '' is kept as a missing value"),
        (
            {(4, 0): "0.1234567890123456789"},
            "column 1: '0.1234567890123456789' is kept as 0.12345678901234568",
        ),
        ({(4, 3): "1e-400"}, "line 6, column 4: '1e-400' is kept as 0.0"),
        ({(4, 3): "9007199254740993"}, "line 6, column 4: '9007199254740993' is kept as 9007199254740992.0"),
        (
            {(4, 0): "?", (5, 0): "?", (6, 8): "?"},
            ", line 6, column 1: '?' is kept as a missing value, and 2 more",
        ),
        ({(4, 0): "0.30000000000000000", (5, 0): "2.5e1", (6, 0): "-0.1"}, None),
    ],
)
def test_a_cell_that_is_kept_otherwise_than_written_is_named(
    tmp_path: Path, cells: dict[tuple[int, int], str], note: str | None
) -> None:
    """Row, column and value, where the table is not the known one. Oracle: IEEE 754, by hand: 53 bits, no 1e-400."""
    rows = cmc()
    for (row, column), text in cells.items():
        rows[row][column] = text
    meta = prepare.import_from(CMC, written(tmp_path / "files.zip", rows), tmp_path)
    assert meta.state == "inexact"
    start = "inputs and labels differ from the table that mixbench knows the checksum of"
    assert meta.note.startswith(start)
    if note is None:
        assert meta.note == start
    else:
        assert f"; not kept as written: {tmp_path}/files.zip/cmc.data, line " in meta.note
        assert note in meta.note


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "pendigits.tra").write_text("")
    with pytest.raises(DataError, match=r"pendigits\.tra and pendigits\.tes"):
        prepare.import_from(TABLES["pendigits"], tmp_path, tmp_path)
    with pytest.raises(DataError, match="volkert is read from OpenML alone"):
        prepare.import_from(TABLES["volkert"], tmp_path, tmp_path)


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch_openml(**_: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
    with pytest.raises(DataError, match="no network") as error:
        prepare.prepare(TABLES["letter"], tmp_path)
    assert "mixbench data import letter PATH" in str(error.value)
    assert "letter-recognition.data" in str(error.value)


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.exists(), reason="needs the packed tables (MIXBENCH_TEST_DATA)")
@pytest.mark.parametrize("name", [name for name, spec in TABLES.items() if spec.parts and name != "iris"])
def test_the_real_files_have_the_checksums(tmp_path: Path, name: str) -> None:
    meta = prepare.import_from(TABLES[name], REAL, tmp_path)
    assert (meta.state, meta.note) == ("complete", "")


@pytest.mark.parametrize("seed", [0, 1])
def test_parts_are_stratified_apart_and_all_there(seed: int) -> None:
    """Each part has its share of every class, to one row: the quotas of `subset`."""
    labels = np.random.default_rng(0).choice(3, 500, p=[0.7, 0.29, 0.01])
    train, val, test = parts(labels, 100, 50, seed)
    assert sorted([*train, *val, *test]) == list(range(500))
    for rows, share in ((val, 0.2), (test, 0.1)):
        assert np.all(np.abs(np.bincount(labels[rows], minlength=3) - share * np.bincount(labels)) < 1 + 1e-9)
    assert not np.array_equal(test, parts(labels, 100, 50, seed + 1)[2])


def test_what_is_filled_in_comes_from_the_training_rows() -> None:
    """Against the training rows' own mean and most frequent category, and one column for each category."""
    generator = np.random.default_rng(0)
    inputs = np.column_stack(
        [
            generator.integers(0, len(CMC.categories[i]), 60)
            if i in CMC.categories
            else generator.normal(size=60)
            for i in range(CMC.columns)
        ]
    ).astype(float)
    inputs[::7] = np.nan
    fitted = encoder(CMC).fit(inputs[:40])
    made = fitted.transform(inputs)
    assert made.shape == (60, *CMC.shape)
    assert np.allclose(made[0, :2], np.nanmean(inputs[:40, [0, 3]], 0))
    column = 2
    for i, values in CMC.categories.items():
        most = np.nanargmax(np.bincount(inputs[:40, i][~np.isnan(inputs[:40, i])].astype(int)))
        codes = np.where(np.isnan(inputs[:, i]), most, inputs[:, i]).astype(int)
        assert np.array_equal(made[:, column : column + len(values)], np.eye(len(values))[codes])
        column += len(values)


def test_iris_needs_no_file_and_its_seed_is_that_of_its_rows(tmp_path: Path) -> None:
    """The two parts of one seed are those of the run with this seed."""
    first = load_table(Table("iris", "80/10/10", 0), tmp_path)
    assert [len(part.labels) for part in (first.train, first.val, first.test)] == [120, 15, 15]  # type: ignore[union-attr]
    config = compose(["dataset=iris", "model=mlp", "batch_size=50", "seed=4"])
    assert (config.dataset.split_seed, config.dataset.held_out()) == (4, 30)


@pytest.mark.parametrize("split", ["60/20", "60/20/30", "100/0/0", "60/40/0", "a/b/c"])
def test_splits_that_are_none_are_refused(split: str) -> None:
    with pytest.raises(ConfigError, match=r"dataset.split=.* such as 60/20/20"):
        compose(["dataset=iris", "model=mlp", f"dataset.split={split}"])


def test_an_archive_that_is_damaged_is_named(tmp_path: Path) -> None:
    """A byte of the compressed data inverted, and the archive cut in the middle."""
    path = tmp_path / "files.zip"
    rows = cmc()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CMC.parts[0].file, "\n".join(",".join(row) for row in rows))
    whole = path.read_bytes()
    for damaged in (whole[:200] + bytes([whole[200] ^ 0xFF]) + whole[201:], whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"files\.zip.*cannot be read"):
            prepare.import_from(CMC, path, tmp_path)
