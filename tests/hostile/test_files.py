"""Files beside the spec: what may not be read is refused, at its place, and no code is run by reading."""

import os
import pickle
import zipfile

import numpy as np
import pytest

SPEC = """\
banach: 1
name: filed
parameters:
  W: {file: NAME}
outputs: {W: W}
"""


class Bomb:
    """Unpickling it would leave a mark."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.fixture
def refused(banach_command, write, tmp_path):
    """name of a file -> what is said: it has to be refused at line 4, with nothing written."""

    def check(name, code="B210", spec=SPEC):
        path = write(spec.replace("NAME", name))
        before = sorted(tmp_path.rglob("*"))
        said = banach_command("check", path)
        assert said.code == 2 and f"error[{code}]" in said.err and not said.out, said
        assert "model.yaml:4:" in said.err and "Traceback" not in said.err
        assert banach_command("compile", path, "-o", tmp_path / "model.onnx").code == 2
        assert sorted(tmp_path.rglob("*")) == before
        return said.err

    return check


@pytest.fixture
def beside(write):
    """The folder of the spec."""
    return write("").parent


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "safetensors"])
def test_what_is_right_is_read(kind, beside, banach_command, write):
    array = np.arange(6.0).reshape(2, 3)
    if kind == "npy":
        np.save(beside / "W.npy", array)
    elif kind == "npz":
        np.savez(beside / "W.npz", W=array)
    elif kind == "csv":
        np.savetxt(beside / "W.csv", array, delimiter=",")
    else:
        from safetensors.numpy import save_file

        save_file({"W": array}, beside / "W.safetensors")
    said = banach_command("run", write(SPEC.replace("NAME", f"W.{kind}")), "--backend", "oracle", "--json")
    assert said.code == 0 and "5.0" in said.out


def test_a_missing_file(refused):
    assert "there is no file `W.npy`" in refused("W.npy")


@pytest.mark.parametrize(
    "name", [".", "", "folder.npy", "no/W.npy", "W.npy/W.npy", '"W\\0.npy"', "a" * 300 + ".npy"]
)
def test_a_name_that_is_no_file(name, refused, beside):
    (beside / "folder.npy").mkdir()
    np.save(beside / "W.npy", np.ones(3))
    refused(name or '""')


@pytest.mark.parametrize(
    "name",
    [
        "../W.npy",
        "/etc/passwd",
        "../../../../../../etc/passwd",
        "./../spec/../W.npy",
        '"..\\\\W.npy"',
        "~/W.npy",
    ],
)
def test_a_file_outside(name, refused, tmp_path):
    np.save(tmp_path / "W.npy", np.ones(3))
    said = refused(name)
    assert "outside the spec's folder" in said or "there is no file" in said or "of no kind" in said


def test_an_absolute_path(refused, tmp_path, beside):
    np.save(tmp_path / "W.npy", np.ones(3))
    np.save(beside / "W.npy", np.ones(3))
    assert "outside" in refused(str(tmp_path / "W.npy"))
    assert "outside" in refused(str(beside / "W.npy"))


def test_a_link_that_leads_outside(refused, tmp_path, beside):
    np.save(tmp_path / "secret.npy", np.ones(3))
    (beside / "W.npy").symlink_to(tmp_path / "secret.npy")
    assert "outside" in refused("W.npy")
    (beside / "folder").symlink_to(tmp_path)
    assert "outside" in refused("folder/secret.npy")


def test_a_link_in_a_circle(refused, beside):
    (beside / "W.npy").symlink_to(beside / "V.npy")
    (beside / "V.npy").symlink_to(beside / "W.npy")
    refused("W.npy")


def test_a_pipe_does_not_hang(refused, beside):
    os.mkfifo(beside / "W.npy")
    refused("W.npy")


def test_pickles_are_not_opened(refused, tmp_path, beside):
    mark = tmp_path / "opened"
    bomb = Bomb(mark)
    objects = np.array([bomb], dtype=object)
    np.save(beside / "objects.npy", objects, allow_pickle=True)
    np.savez(beside / "objects.npz", W=objects)
    for name in ("W.pkl", "W.pt", "W.npy", "W.npz", "W.csv", "W.safetensors", "W.png"):
        (beside / name).write_bytes(pickle.dumps(bomb))
        refused(name)
    refused("objects.npy")
    refused("objects.npz")
    assert not mark.exists()


@pytest.mark.parametrize("name", ["W.npy", "W.npz", "W.csv", "W.safetensors", "W.png", "W.txt", "W"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\xff\xd8\xff" * 50, b"1;2;3\n", b"\x93NUMPY\x01\x00\xff\xff{"]
)
def test_damaged_files(name, content, refused, beside):
    (beside / name).write_bytes(content)
    refused(name)


@pytest.mark.parametrize("keep", [5, 20, 100, 130])
def test_a_truncated_array(keep, refused, beside):
    np.save(beside / "W.npy", np.ones(100))
    content = (beside / "W.npy").read_bytes()
    (beside / "W.npy").write_bytes(content[:keep])
    refused("W.npy")


def test_a_header_that_lies(refused, beside):
    """It promises eight terabytes: refused, not allocated."""
    np.save(beside / "W.npy", np.ones(10))
    content = (beside / "W.npy").read_bytes()
    lie = content.replace(b"(10,), }" + b" " * 10, b"(100000000000,), }")
    assert lie != content
    (beside / "W.npy").write_bytes(lie)
    refused("W.npy")


def test_a_zip_bomb(refused, beside):
    """A small .npz whose array is large when unpacked, and one that is no array."""
    with zipfile.ZipFile(beside / "W.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W.npy", b"\x00" * 10_000_000)
    refused("W.npz")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite(bad, refused, beside):
    array = np.ones((3, 4))
    array[1, 2] = bad
    np.save(beside / "W.npy", array)
    said = refused("W.npy", "B211")
    assert "[1, 2]" in said and str(bad) in said
    np.savetxt(beside / "W.csv", array, delimiter=",")
    assert "[1, 2]" in refused("W.csv", "B211")


def test_a_weight_that_float32_cannot_hold(refused, beside, banach_command, write):
    np.save(beside / "W.npy", np.array([1.0, 1e300]))
    refused("W.npy", "B211")
    wide = SPEC.replace("name: filed", "precision: float64").replace("NAME", "W.npy")
    assert banach_command("check", write(wide)).code == 0


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "b"]),
        np.zeros((0, 3)),
        np.array([np.datetime64("2020-01-01")]),
        np.zeros(2, "i4,f4"),
    ],
    ids=["texts", "empty", "dates", "records"],
)
def test_what_holds_no_numbers(array, refused, beside):
    np.save(beside / "W.npy", array)
    refused("W.npy")


def test_csv_that_is_no_table(refused, beside):
    for text in ("1,2\n3\n", "a,b\n1,x\n", "1,2\n3,\n", "a,b\n", "# nothing\n"):
        (beside / "W.csv").write_text(text)
        refused("W.csv")


def test_columns_that_are_not_there(refused, beside):
    (beside / "W.csv").write_text("a,b\n1,2\n")
    spec = SPEC.replace("{file: NAME}", "{file: W.csv, columns: [a, c]}")
    assert "no column c" in refused("W.csv", spec=spec) and "a, b" in refused("W.csv", spec=spec)


def test_a_shape_that_the_file_has_not(refused, beside):
    np.save(beside / "W.npy", np.ones((3, 4)))
    said = refused("W.npy", "B202", SPEC.replace("{file: NAME}", '{file: W.npy, type: "real[4, 3]"}'))
    assert "[3, 4]" in said and "[4, 3]" in said


def test_a_spec_without_a_folder():
    import banach

    with pytest.raises(banach.SpecError, match="B210"):
        banach.loads(SPEC.replace("NAME", "W.npy"))


# --- inputs of a run --------------------------------------------------------------------------------------


def test_inputs_are_read_with_the_same_care(banach_command, model_file, tmp_path):
    mark = tmp_path / "opened"
    np.save(tmp_path / "objects.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=np.array([Bomb(mark)], dtype=object))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Bomb(mark)))
    (tmp_path / "x.csv").write_text("1,2\n3\n")
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "x.safetensors").write_bytes(b"\xff" * 8)
    for name in (
        "objects.npy",
        "objects.npz",
        "x.pkl",
        "x.csv",
        "x.npy",
        "x.png",
        "x.safetensors",
        ".",
        "no.npy",
    ):
        said = banach_command(
            "run", model_file("deq"), "--backend", "oracle", "--input", f"x={tmp_path / name}"
        )
        assert said.code == 2 and "B704" in said.err and not said.out, (name, said)
    assert not mark.exists()
