"""Names the class of pictures by a file of `cvgssl export`: recognize.py FILE.onnx PICTURE...

Prints path, class, probability and verdict (known, unknown or not sure; none by trained
runs), with tabs between.
Needs onnxruntime, numpy and Pillow alone.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def read(path: str) -> tuple[np.ndarray, int]:
    """Samples uint16 [H, W, C] of a picture with 1 or 3 channels, and the format's white level."""
    with Image.open(path) as image:
        if image.mode == "RGB" and ";16" in str(image.tile):
            sys.exit(f"{path}: Pillow cannot read 16-bit colour; save it with 8 bits")
        if image.format == "TIFF" and image.getexif().get(274, 1) != 1:
            sys.exit(f"{path}: a turned TIFF, which Pillow reads differently; save it upright")
        if image.mode in ("I", "F", "LAB"):
            sys.exit(f"{path}: has mode {image.mode}; save it with 8 or 16 bits")
        image = ImageOps.exif_transpose(image)
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA")  # without this step Pillow warns of transparency
        if not image.mode.startswith("I;16"):
            image = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
        samples = np.asarray(image).astype(np.uint16)
    return samples.reshape(*samples.shape[:2], -1), 65535 if image.mode.startswith("I") else 255


def main(file: str, *paths: str) -> None:
    """Print a line for each picture."""
    onnxruntime.disable_telemetry_events()  # of builds for Windows
    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's have no class of their own
        sys.exit(f"{file}: {str(error).splitlines()[0]}")
    texts = session.get_modelmeta().custom_metadata_map
    about = {name: json.loads(text) for name, text in texts.items()}
    if about.get("format") != 2:
        sys.exit(f"{file}: not a file of `cvgssl export` that this program knows")
    names = [output.name for output in session.get_outputs()]
    for path in paths:
        try:
            samples, white = read(path)
        except OSError as error:
            sys.exit(f"{path}: {error.strerror or error}")
        if samples.max() > min(white, 2 ** about["bit_depth"] - 1):
            sys.exit(f"{path}: has samples over {about['bit_depth']} bits")
        inputs = {"picture": samples, "white": np.array(white, np.uint16)}
        answer = dict(zip(names, session.run(names, inputs), strict=True))
        best = answer["probabilities"].argmax()
        probability, verdict = answer["probabilities"][best], ""
        if "score" in answer:
            verdict = "known" if probability >= about["not_sure_below"] else "not sure"
            verdict = verdict if answer["score"] >= about["unknown_below"] else "unknown"
        print(path, about["classes"][best], f"{probability:.6f}", verdict, sep="\t")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
