"""`cvgssl verify FILE.onnx`: whether an exported file answers as when it was made."""

from collections.abc import Sequence

from cvgssl.cli.command import Command
from cvgssl.export.config import VerifyConfig

COMMAND = Command(VerifyConfig, positional=("file",))


def run(argv: Sequence[str], prog: str) -> int:
    """Ask it about the pictures that it carries; 0 when all answers are the same."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.recognizer.exported_file import ExportedFile
    from cvgssl.recognizer.golden import check_golden

    agreement = check_golden(ExportedFile(config.file))
    print(
        f"{config.file}: {agreement.pictures} pictures get the same class; probabilities differ "
        f"by at most {agreement.probability:.1e}, embeddings by {agreement.embedding:.1e} of "
        "their largest number"
    )
    return 0
