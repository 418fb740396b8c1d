"""The programs that run exported files: ONNX Runtime and OpenVINO, on the CPU.

Imports no torch.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from numpy.typing import NDArray

from cvgssl.encoders.programs import ONNXRUNTIME, OPENVINO, import_openvino
from cvgssl.runtime.errors import UserError

NNCF = "nncf"
_EXTRAS = {OPENVINO: "openvino,onnx", NNCF: "int8,openvino,onnx"}
_PLACE = "cvgssl"  # in OpenVINO's rt_info, of what ONNX calls metadata
_OPENVINO = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
"""By itself it computes in bf16 where the processor can, the resize too."""


class Session(Protocol):
    """A file that is open.

    texts: its metadata. outputs: names of what it gives. program: what runs it, with its version.
    """

    texts: dict[str, str]
    outputs: list[str]
    program: str

    def __call__(self, inputs: Mapping[str, NDArray[Any]], /) -> list[NDArray[Any]]:
        """All outputs."""


class OnnxSession:
    """See `Session`."""

    def __init__(self, path: Path) -> None:
        runtime = import_package(ONNXRUNTIME)
        runtime.disable_telemetry_events()  # of builds for Windows, which report to their maker
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        # threads that wait by spinning take the cores from a camera's program and the decoder
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = runtime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.texts: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.outputs = [output.name for output in self._session.get_outputs()]
        self.program = f"ONNX Runtime {runtime.__version__}"

    def __call__(self, inputs: Mapping[str, NDArray[Any]], /) -> list[NDArray[Any]]:
        """See `Session`."""
        values: list[NDArray[Any]] = self._session.run(None, dict(inputs))
        return values


class OpenvinoSession:
    """See `Session`."""

    def __init__(self, path: Path, weights: Path | None = None) -> None:
        """Open an .xml with its weights, or an .onnx, whose metadata it does not read."""
        runtime = import_package(OPENVINO)
        model = runtime.Core().read_model(path, *([] if weights is None else [weights]))
        names = model.get_rt_info(_PLACE).value if model.has_rt_info(_PLACE) else {}
        self.texts: dict[str, str] = {
            name: model.get_rt_info([_PLACE, name]).astype(str) for name in names
        }
        self._compiled = compiled(model)
        self.outputs = [output.any_name for output in self._compiled.outputs]
        self.program = f"OpenVINO {runtime.__version__.split('-')[0]}"

    def __call__(self, inputs: Mapping[str, NDArray[Any]], /) -> list[NDArray[Any]]:
        """See `Session`."""
        return list(self._compiled(dict(inputs)).values())


def compiled(model: Any) -> Any:
    """OpenVINO's `Model`, to be called with its inputs by name."""
    return import_package(OPENVINO).Core().compile_model(model, "CPU", _OPENVINO)


def write_openvino(model: Any, texts: Mapping[str, str], path: Path, weights: Path) -> None:
    """Write OpenVINO's `Model` with metadata, as `OpenvinoSession` reads it."""
    for name, text in texts.items():
        model.set_rt_info(text, [_PLACE, name])
    import_package(OPENVINO).serialize(model, path, weights)


def import_package(name: str) -> ModuleType:
    """A package of the extras `onnx`, `openvino`, `int8`; raises UserError where it is missing."""
    try:
        if name in _EXTRAS:  # NNCF imports OpenVINO, too
            import_openvino()
        return import_module(name)
    except ImportError as error:
        extra = _EXTRAS.get(name, "onnx")
        raise UserError(f"{name} is not installed: pip install 'cvgssl[{extra}]'") from error
