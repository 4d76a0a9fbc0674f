"""Sets of graphs: what is read of the text, and what is said of one that is damaged."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mixbench.data import graphs
from mixbench.data.gin_text import read
from mixbench.data.store.graphs import import_graphs, members, standing, verified
from mixbench.errors import DataError
from mixbench.schema.graphs import GRAPHS, GraphSpec

PACKED = (
    Path(os.environ.get("MIXBENCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "tu_graphs.zip"
)
OURS = GraphSpec("ours", "", "OURS", 20, 2, "tag", 2, "")
# A path of three nodes and a single node, in turn: labels 7 and 3, tags 5 and 2.
PATH, SINGLE = "3 7\n5 1 1\n2 2 0 2\n5 1 1\n", "1 3\n2 0\n"


def written(folder: Path) -> Path:
    (folder / "OURS" / "10fold_idx").mkdir(parents=True)
    (folder / "OURS.txt").write_text("20\n" + (PATH + SINGLE) * 10)
    for k in range(10):
        test = [2 * k, 2 * k + 1]
        parts = {"test": test, "train": [i for i in range(20) if i not in test]}
        for part, rows in parts.items():
            (folder / "OURS" / "10fold_idx" / f"{part}_idx-{k + 1}.txt").write_text(
                "\n".join(map(str, rows)) + "\n"
            )
    return folder


def test_what_is_read_is_what_is_written(tmp_path: Path) -> None:
    """Oracle: the text by hand. Labels and tags are numbered in ascending order, edges are within their graph."""
    found = read(OURS, written(tmp_path))
    assert found.labels.tolist() == [1, 0] * 10
    assert found.nodes.tolist()[:4] == [0, 3, 4, 7]
    assert found.edges.tolist()[:4] == [0, 4, 4, 8]
    assert found.features.tolist()[:5] == [1, 0, 1, 0, 1]
    assert list(zip(found.source[:4].tolist(), found.target[:4].tolist(), strict=True)) == [
        (1, 0),
        (0, 1),
        (2, 1),
        (1, 2),
    ]
    assert found.folds[3].test.tolist() == [6, 7]
    assert len(found.folds[3].train) == 18


def test_degrees_instead_of_tags(tmp_path: Path) -> None:
    """By hand: the degrees 1, 2, 1 of the path and 0 of the single node, in ascending order."""
    spec = GraphSpec("ours", "", "OURS", 20, 2, "degree", 3, "")
    assert read(spec, written(tmp_path)).features.tolist()[:4] == [1, 2, 1, 0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2 2 0 2\n", "2 2 0 9\n", "graph 0, node 1"),
        ("2 2 0 2\n", "2 3 0 2\n", "graph 0, node 1"),
        ("2 2 0 2\n", "2 2 0 x\n", "line 4: '2 2 0 x' is not graph 0, node 1"),
        ("2 2 0 2\n", "2 1 0\n", "graph 0 is not undirected: node 1 does not name node 2"),
        ("2 2 0 2\n", "2 3 0 2 2\n", "an edge is there twice"),
        ("20\n", "19\n", "there is more after 19 graphs"),
        ("20\n", "21\n", "it is cut off"),
        ("20\n", "many\n", "the number of graphs"),
        ("20\n", "0\n", "OURS.txt"),
        ("3 7\n", "0 7\n", "graph 0 has 0 nodes"),
        ("1 3\n", "1 4\n", "3 labels"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    """By definition: the message names the file, the graph, and the command that helps."""
    path = written(tmp_path) / "OURS.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError) as error:
        read(OURS, tmp_path)
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "mixbench data import" in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("4\n20\n", "line 2: graph 20"),
        ("4\nfive\n", "line 2: 'five'"),
        ("4\n", "graph 5 0 times"),
        ("4\n5\n6\n", "graph 6 2 times"),
    ],
)
def test_a_bad_index_is_named(tmp_path: Path, content: str, said: str) -> None:
    """By definition: each graph is in one part of a fold."""
    path = written(tmp_path) / "OURS" / "10fold_idx" / "test_idx-3.txt"
    path.write_text(content)
    with pytest.raises(DataError, match="test_idx-3") as error:
        read(OURS, tmp_path)
    assert said in str(error.value)


@pytest.mark.parametrize("layout", ["zip", "dataset", "folder"])
def test_import_and_damage(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By definition: the layouts that exist give the same set; a changed digit, which is still a set, is found."""
    monkeypatch.setitem(GRAPHS, "ours", OURS)
    source, root = written(tmp_path / "source"), tmp_path / "root"
    if layout != "folder":
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            for name in members(OURS):
                inside = name if layout == "zip" else f"dataset/OURS/{name.removeprefix('OURS/')}"
                archive.write(source / name, inside)
        source = tmp_path / "all.zip"
    assert standing(root, OURS)[0] == "missing"
    with pytest.raises(DataError, match="mixbench data import ours"):
        graphs.load("ours", root)
    import_graphs(OURS, source, root)
    np.testing.assert_array_equal(graphs.load("ours", root).labels, [1, 0] * 10)
    assert standing(root, OURS)[0] == "inexact"  # no published one has the checksum ""
    path = root / "ours" / "OURS.txt"
    path.write_text(path.read_text().replace("3 7\n5", "3 3\n5", 1))
    with pytest.raises(DataError, match=r"OURS\.txt.*SHA-256"):
        graphs.load("ours", root)
    assert standing(root, OURS)[0] == "damaged"
    import_graphs(OURS, source, root)
    assert "complete" in str(verified(root, OURS))


def test_a_bad_source_changes_nothing(tmp_path: Path) -> None:
    """By definition: what is there stays, and the message names the source."""
    source, root = written(tmp_path / "source"), tmp_path / "root"
    import_graphs(OURS, source, root)
    (source / "OURS.txt").write_text("20\n" + PATH)
    with pytest.raises(DataError, match=r"source.*cut off"):
        import_graphs(OURS, source, root)
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(DataError, match=r"bad\.zip"):
        import_graphs(OURS, tmp_path / "bad.zip", root)
    assert verified(root, OURS)
    assert sorted(p.name for p in root.iterdir()) == ["ours", "ours.lock"]


@pytest.mark.realdata
@pytest.mark.skipif(not PACKED.is_file(), reason="needs tu_graphs.zip")
def test_the_published_sets(tmp_path: Path) -> None:
    """Oracle: the published sizes (TUDataset, Morris et al. 2020), and what the ten test parts of GIN's code cover."""
    sizes = {"mutag": (188, 3371, 7442), "ptc": (344, 8792, 17862)}
    tested = {"mutag": 180, "ptc": 340}
    for name, (count, nodes, edges) in sizes.items():
        import_graphs(GRAPHS[name], PACKED, tmp_path)
        assert standing(tmp_path, GRAPHS[name]) == ("complete", "")
        found = graphs.load(name, tmp_path)
        assert (len(found), len(found.features), len(found.source)) == (count, nodes, edges)
        times = Counter(np.concatenate([fold.test for fold in found.folds]).tolist())
        assert len(times) == tested[name]
        assert set(times.values()) == {1}
