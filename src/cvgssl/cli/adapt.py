"""What the commands that adapt a backbone share: run, report, and stop after saving."""

from cvgssl.adapt.config import AdaptConfig


def run_adaptation(config: AdaptConfig, prog: str) -> int:
    """Run the job, print its table and where everything is."""
    from cvgssl import api
    from cvgssl.report.adaptation import print_summary
    from cvgssl.runtime.launch import is_first_process
    from cvgssl.runtime.stopping import Stopped

    try:
        folder, summary = api.adapt_and_draw(config)
    except Stopped as stopped:
        if is_first_process():
            print(f"{prog}: stopped and saved; go on with: {prog} --resume {stopped.folder}")
        return stopped.exit_code
    if is_first_process():
        print_summary(folder, summary)
    return 0
