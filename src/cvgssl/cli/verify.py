"""`cvgssl verify FILE`: whether an exported file answers as when it was made."""

from collections.abc import Sequence

from cvgssl.cli.command import Command
from cvgssl.export.config import VerifyConfig

COMMAND = Command(VerifyConfig, positional=("file",))


def run(argv: Sequence[str], prog: str) -> int:
    """Ask it about the pictures that it carries; 0 when all answers are the same."""
    config = COMMAND.parse(argv, prog)
    from cvgssl.recognizer.exported_file import ExportedFile
    from cvgssl.recognizer.golden import check_golden

    exported = ExportedFile(config.file)
    agreement = check_golden(exported)
    print(
        f"{config.file}: in {exported.program} {agreement.pictures} pictures get the same class; "
        f"probabilities differ by at most {agreement.probability:.1e}, embeddings by "
        f"{agreement.embedding:.1e} of their largest number"
    )
    if exported.taught is not None:
        print(exported.taught)
    return 0
