import json
import os
import pickle
import signal
import subprocess
import textwrap
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cvgssl.encoders.containers import read_tree
from cvgssl.runtime.errors import MachineError, UserError
from cvgssl.runtime.launch import launch
from cvgssl.runtime.options import CONFIG, JobOptions
from cvgssl.runtime.run import (
    ENVIRONMENT,
    LOG,
    METRICS,
    SNAPSHOT,
    SUMMARY,
    RunFolder,
    RunKind,
    open_run,
)


def test_lines_after_the_snapshot_vanish_and_none_stands_twice(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    for epoch in (1, 2, 3):
        first.log(f"epoch {epoch}")
        first.metrics({"draw": 1, "epoch": epoch})
        if epoch == 2:
            first.save_snapshot({"epoch": 2, "weight": torch.arange(3)})

    second = RunFolder(tmp_path)
    state = second.load_snapshot(read_tree)
    assert state is not None
    assert state["epoch"] == 2
    assert state["weight"].tolist() == [0, 1, 2]
    for epoch in (3, 4):
        second.log(f"epoch {epoch}")
        second.metrics({"draw": 1, "epoch": epoch})
    assert [row["epoch"] for row in second.rows()] == [1, 2, 3, 4]
    assert (tmp_path / LOG).read_text() == "epoch 1\nepoch 2\nepoch 3\nepoch 4\n"


def test_a_killed_process_loses_only_what_came_after_its_snapshot(
    tmp_path: Path, python: str
) -> None:
    script = """
        import signal, sys
        from pathlib import Path
        from cvgssl.runtime.run import RunFolder
        folder = RunFolder(Path(sys.argv[1]))
        folder.log("kept ä")
        folder.save_snapshot({"epoch": 1})
        folder.log("lost")
        signal.pause()
    """
    child = subprocess.Popen(
        [python, "-u", "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert child.stdout is not None
    assert [child.stdout.readline() for _ in range(2)] == ["kept ä\n", "lost\n"]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    folder = RunFolder(tmp_path)
    assert folder.load_snapshot(read_tree) == {"epoch": 1}
    assert (tmp_path / LOG).read_text(encoding="utf-8") == "kept ä\n"


def test_without_a_snapshot_a_run_starts_with_empty_files(tmp_path: Path) -> None:
    before = RunFolder(tmp_path)
    before.log("from a run that was killed before its first snapshot")
    after = RunFolder(tmp_path)
    assert after.load_snapshot(read_tree) is None
    assert (tmp_path / LOG).read_text() == ""


def test_a_log_shorter_than_the_snapshot_remembers_is_not_padded(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.log("a line that the power cut kept from the disk")
    folder.save_snapshot({"epoch": 1})
    os.truncate(tmp_path / LOG, 6)
    folder.load_snapshot(read_tree)
    assert (tmp_path / LOG).read_bytes() == b"a line"


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _of_something_else(path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, path)


@pytest.mark.parametrize("damage", [_cut, _empty, _of_something_else])
def test_a_damaged_snapshot_is_an_error_that_names_it(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = RunFolder(tmp_path)
    folder.log("line")
    folder.save_snapshot({"weight": torch.zeros(100)})
    damage(tmp_path / SNAPSHOT)
    with pytest.raises(UserError, match=r"snapshot\.pt: damaged; remove it"):
        RunFolder(tmp_path).load_snapshot(read_tree)
    assert (tmp_path / LOG).read_text() == "line\n"  # nothing is cut on the way


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_snapshot_that_does_not_fit_what_takes_it_over_is_an_error(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    for state in (
        {},
        {"state": {}, "param_groups": 3},
        optimizer.state_dict() | {"param_groups": []},
    ):
        with (
            pytest.raises(UserError, match=r"snapshot\.pt: damaged; remove it"),
            folder.restoring(),
        ):
            optimizer.load_state_dict(state)
    with pytest.raises(MachineError), folder.restoring():
        raise MemoryError
    with folder.restoring():
        optimizer.load_state_dict(optimizer.state_dict())


def test_a_snapshot_made_to_do_harm_is_refused(tmp_path: Path) -> None:
    key = b"\x80\x02})q\x00" + 45 * b"h\x00\x86q\x00" + b"Ns."  # its hash takes 2**45 steps
    for program in (key, b"\x80\x02})" + b"\x85" * 400_000 + b"Ns."):
        with zipfile.ZipFile(tmp_path / "snapshot.pt", "w") as archive:
            archive.writestr("m/data.pkl", program)
        with pytest.raises(UserError, match=r"snapshot\.pt: damaged; remove it to start"):
            RunFolder(tmp_path).load_snapshot(read_tree)
    for sizes in (5, {"log.txt": "x"}, {"log.txt": float("nan")}):
        torch.save({"sizes": sizes}, tmp_path / "snapshot.pt")
        with pytest.raises(UserError, match=r"snapshot\.pt: damaged; remove it to start"):
            RunFolder(tmp_path).load_snapshot(read_tree)
    (tmp_path / "log.txt").write_text("a line\n")
    torch.save({"sizes": {"log.txt": -5}}, tmp_path / "snapshot.pt")
    assert RunFolder(tmp_path).load_snapshot(read_tree) == {}
    assert (tmp_path / "log.txt").read_text() == ""


def test_code_in_a_snapshot_is_refused_and_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "code was run"
    state = {"sizes": {}, "epoch": _Malicious(proof)}
    torch.save(state, tmp_path / SNAPSHOT)
    with pytest.raises(UserError):
        RunFolder(tmp_path).load_snapshot(read_tree)
    (tmp_path / SNAPSHOT).write_bytes(pickle.dumps(state, protocol=2))
    with pytest.raises(UserError):
        RunFolder(tmp_path).load_snapshot(read_tree)
    assert not proof.exists()
    pickle.loads((tmp_path / SNAPSHOT).read_bytes())
    assert proof.exists()  # the attack was a real one


def test_a_snapshot_that_would_take_years_is_refused(tmp_path: Path) -> None:
    # a tuple of twice the last one, forty times, as a key, whose hash takes 2 ** 40 steps
    data = b"\x80\x02})" + 40 * b"q\x01h\x01\x86" + b"K\x00s."
    assert isinstance(pickle.loads(b"\x80\x02)" + 3 * b"q\x01h\x01\x86" + b"."), tuple)
    with zipfile.ZipFile(tmp_path / SNAPSHOT, "w") as archive:
        archive.writestr("snapshot/data.pkl", data)
        archive.writestr("snapshot/version", "3\n")
    with pytest.raises(UserError, match="damaged; remove it"):
        RunFolder(tmp_path).load_snapshot(read_tree)


def test_other_processes_write_and_print_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = RunFolder(tmp_path)
    main.log("line")
    main.metrics({"epoch": 1})
    main.save_snapshot({"epoch": 1})
    main.log("after")
    other = RunFolder(tmp_path, writes=False)
    other.log("again")
    other.metrics({"epoch": 1})
    other.save_snapshot({"epoch": 7})
    assert other.load_snapshot(read_tree) == {"epoch": 1}
    assert (tmp_path / LOG).read_text() == "line\nafter\n"
    assert (tmp_path / METRICS).read_text() == '{"epoch": 1}\n'
    assert capsys.readouterr().out == "line\nafter\n"


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    config = JobOptions(out=tmp_path / "run")
    kind = RunKind("linear", "unused", {"pictures_sha256": "a"}, lambda _recorded: None)

    def full_disk(path: Path) -> None:
        (path / "draws.json").write_text("{")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        open_run(config, kind, launch(), full_disk)
    assert list(tmp_path.iterdir()) == []
    folder = open_run(config, kind, launch())
    folder.close()
    assert sorted(path.name for path in folder.path.iterdir()) == [CONFIG, ENVIRONMENT]
    with pytest.raises(UserError, match=r"--out .*run: exists already"):
        open_run(config, kind, launch())


def test_a_run_is_resumed_by_the_command_that_started_it(tmp_path: Path) -> None:
    def changed(recorded: Mapping[str, Any]) -> None:
        if recorded["pictures_sha256"] != "a":
            raise UserError("pictures changed")

    kind = RunKind("linear", "unused", {"pictures_sha256": "a"}, changed)
    folder = open_run(JobOptions(out=tmp_path / "run"), kind, launch())
    folder.close()
    again = JobOptions(resume=folder.path)
    resumed = open_run(again, kind, launch())
    assert resumed.path == folder.path
    resumed.close()
    with pytest.raises(UserError, match="was started by `cvgssl linear`"):
        open_run(again, replace(kind, command="finetune"), launch())
    (folder.path / SUMMARY).write_text("{}")
    with pytest.raises(UserError, match="this run is finished"):
        open_run(again, kind, launch())


def test_a_run_that_is_at_work_is_not_resumed_by_another_process(tmp_path: Path) -> None:
    kind = RunKind("linear", "unused", {}, lambda _recorded: None)
    first = open_run(JobOptions(out=tmp_path / "run"), kind, launch())
    first.load_snapshot(read_tree)  # closes the growing files, but does not give the folder away
    again = JobOptions(resume=tmp_path / "run")
    with pytest.raises(UserError, match=f"--resume .*run: is in use by process {os.getpid()} on"):
        open_run(again, kind, launch())
    first.close()
    second = open_run(again, kind, launch())
    second.close()


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"started_by": "linear"}'])
def test_a_record_that_was_edited_is_one_line(tmp_path: Path, damage: str) -> None:
    kind = RunKind("linear", "unused", {"a": 1}, lambda recorded: recorded["a"])
    open_run(JobOptions(out=tmp_path / "run"), kind, launch()).close()
    (tmp_path / "run" / ENVIRONMENT).write_text(damage)
    for _ in range(2):  # a refusal keeps no lock
        with pytest.raises(UserError) as caught:
            open_run(JobOptions(resume=tmp_path / "run"), kind, launch())
        assert "start a new run" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_runs_without_a_name_that_start_together_get_folders_of_their_own(tmp_path: Path) -> None:
    config = JobOptions(log_dir=tmp_path / "logs")
    folders = []

    def start_another(_path: Path) -> None:
        folders.append(open_run(config, kind, launch()))

    kind = RunKind("linear", "name", {}, lambda _recorded: None)
    folders.append(open_run(config, kind, launch(), start_another))
    for folder in folders:
        folder.close()
    assert [folder.path.name for folder in folders] == ["name_2", "name"]

    def full_disk(_path: Path) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        open_run(config, kind, launch(), full_disk)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["name", "name_2"]


@pytest.mark.parametrize(
    "text", ["{", "[1]", "3", "[" * 100_000, '{"started_by": "linear"}', "\ud800"]
)
def test_an_edited_record_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / ENVIRONMENT).write_bytes(text.encode("utf-8", "surrogatepass"))
    kind = RunKind("linear", "unused", {}, lambda recorded: recorded["pictures_sha256"])
    config = JobOptions(resume=tmp_path)
    with pytest.raises(UserError, match=r"environment\.json.*start a new run") as caught:
        open_run(config, kind, launch())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[1]", "3", "[" * 100_000, '{"draw": 1}', '{"draw": 1, "epoch": "1"}'),
        '{"draw": 1, "epoch": 1, "train_loss": "a"}',
        '{"draw": 1, "epoch": 1, "train_loss": 1' + "0" * 400 + "}",
    ],
)
def test_an_edited_row_of_metrics_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    sound = '{"draw": 1, "epoch": 1, "train_loss": 0.5, "test_acc": null}\n'
    (tmp_path / METRICS).write_text(sound)
    assert RunFolder(tmp_path).rows() == [json.loads(sound)]
    (tmp_path / METRICS).write_text(sound + line + "\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be read as rows of metrics"):
        RunFolder(tmp_path).rows()
