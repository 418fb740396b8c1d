"""What the commands `fit`, `export`, `pretrain`, `finetune` and `linear` do, from Python."""

from functools import partial
from pathlib import Path

from cvgssl.adapt.config import AdaptConfig, FinetuneConfig, LinearConfig
from cvgssl.adapt.protocol import adapt
from cvgssl.adapt.summary import Summary, read_summary
from cvgssl.export.config import ExportConfig
from cvgssl.export.job import ExportSummary, export
from cvgssl.pretrain.config import PretrainConfig
from cvgssl.pretrain.job import PretrainSummary, pretrain
from cvgssl.recognizer import fit as recognizer_fit
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.fit import FitSummary
from cvgssl.report.adaptation import lacks_figures, write_figures
from cvgssl.report.recognizer import write_recognizer_page
from cvgssl.runtime.launch import is_first_process
from cvgssl.runtime.run import SUMMARY


def fit(config: FitConfig) -> tuple[Path, FitSummary]:
    """Make a recognizer without training; gives its folder, for `predict`, and its figures.

    Where test pictures have labels, report.html in the folder shows figures and mistakes.
    Raises UserError for what is wrong with data, encoders or labels; nothing is written then.
    """
    return recognizer_fit.fit(config, partial(write_recognizer_page, config))


def export_recognizer(config: ExportConfig) -> ExportSummary:
    """Write a recognizer as one ONNX file, checked; see `cvgssl.export.job.export`."""
    return export(config)


def pretrain_backbone(config: PretrainConfig) -> tuple[Path, PretrainSummary]:
    """Pre-train on unlabelled pictures; gives the run folder, with backbone.safetensors in it."""
    return pretrain(config)


def finetune(config: FinetuneConfig) -> tuple[Path, Summary]:
    """Fine-tune on every draw; gives the run folder and the summary of the figures in it."""
    return adapt_and_draw(config)


def linear(config: LinearConfig) -> tuple[Path, Summary]:
    """Train linear heads on every draw; gives the run folder and the summary of its figures."""
    return adapt_and_draw(config)


def adapt_and_draw(config: AdaptConfig) -> tuple[Path, Summary]:
    """Do the job and draw its figures into the run folder, which may be all that a run lacks."""
    if config.resume is not None and lacks_figures(config.resume):
        folder, summary = config.resume, read_summary(config.resume / SUMMARY)
    else:
        folder, summary = adapt(config)
    if is_first_process():
        write_figures(folder, summary)
    return folder, summary
