"""Damage to what is deployed: exported files and the rows of a station, in their own formats."""

import random
import sqlite3
import tempfile
from pathlib import Path

import onnx

from benchmarks.fuzz import mutations

_STATION = "station"


def make_station(folder: Path) -> None:
    """A station with a recognizer that is live, without its server."""
    from cvgssl.station.config import StationConfig
    from cvgssl.station.models import Models
    from cvgssl.station.serve import open_station

    station = folder / _STATION
    station.mkdir()
    log, version = open_station(StationConfig(folder=station, recognizer=folder / "tiny.onnx"))
    Models(station, log).go_live(version.number, "fuzz")
    log.close()


def read_station(root: Path) -> None:
    """What a station reads before it answers."""
    from cvgssl.recognizer.config import PredictOptions
    from cvgssl.recognizer.finding import find_recognizer
    from cvgssl.station.config import StationConfig
    from cvgssl.station.models import Models
    from cvgssl.station.serve import open_station

    log, version = open_station(StationConfig(folder=root / _STATION))
    Models(root / _STATION, log).versions()
    find_recognizer(PredictOptions(recognizer=version.path, pictures=(version.path,)))


def mutate_onnx(data: bytes, rng: random.Random) -> bytes:
    """Metadata, and attributes, shapes and names of the graph."""
    model = onnx.load_from_string(data)
    nodes, weights = model.graph.node, model.graph.initializer
    for _ in range(rng.choice((1, 1, 2))):
        kind = rng.randrange(6)
        if kind <= 2:
            entry = rng.choice(model.metadata_props)
            entry.value = _changed(entry.value, rng)
        elif kind == 3:
            node = rng.choice(nodes)
            for attribute in node.attribute:
                attribute.i = rng.choice((0, -1, 2**31, 2**62, rng.randrange(100)))
            if node.input and rng.random() < 0.5:
                node.input[0] = rng.choice(nodes).name or "x"
        elif kind == 4:
            weight = rng.choice(weights)
            if weight.dims:
                weight.dims[0] = rng.choice((0, -1, 1, 2**20, 2**40))
        else:
            weight = rng.choice(weights)
            weight.data_location = onnx.TensorProto.EXTERNAL
            place = weight.external_data.add()
            place.key, place.value = "location", rng.choice(("/etc/passwd", "../x", "/dev/zero"))
            weight.ClearField("raw_data")
    return model.SerializeToString()


def mutate_xml(data: bytes, rng: random.Random) -> bytes:
    """Values of attributes of OpenVINO's file; metadata are among them."""
    parts = data.split(b'"')
    for _ in range(rng.choice((1, 1, 3))):
        place = 2 * rng.randrange(len(parts) // 2) + 1
        values = (b"", b"-1", b"0", b"9" * 30, b"nan", b"x", b"1,1", b"[]", rng.choice(parts))
        parts[place] = rng.choice(values)
    return b'"'.join(parts)


def mutate_rows(data: bytes, rng: random.Random) -> bytes:
    """Rows of a station with other facts, kinds and times; SQLite's own file stays whole."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        path.write_bytes(data)
        rows = sqlite3.connect(path, isolation_level=None)
        rows.execute("pragma journal_mode = delete")
        rows.execute("drop trigger if exists events_stay")
        for number, facts in rows.execute("select number, facts from events").fetchall():
            if rng.random() < 0.7:
                text = mutations.mutate_json(facts.encode(), rng).decode()
                rows.execute("pragma ignore_check_constraints = on")
                rows.execute("update events set facts = ? where number = ?", (text, number))
        if rng.random() < 0.2:
            rows.execute(f"pragma user_version = {rng.choice((0, 2, 2**31 - 1))}")
        rows.close()
        return path.read_bytes()


def _changed(text: str, rng: random.Random) -> str:
    if rng.random() < 0.7:
        return mutations.mutate_json(text.encode(), rng).decode()
    return rng.choice(("", "[]", "null", "{", "[" * 10**5, "NaN", "9" * 5000, '"x"', "[1, 2]"))
