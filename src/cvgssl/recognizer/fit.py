"""`cvgssl fit`: embed, label, keep, and measure the recognizer on test pictures."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from cvgssl.encoders.installed_weights import INSTALLED
from cvgssl.features.class_texts import texts_table
from cvgssl.features.embed import Embedded, embed_all
from cvgssl.features.encoder_requests import EncoderRequest, requested_encoders
from cvgssl.features.mirrors import embed_mirrored_each
from cvgssl.features.pictures import list_for_embedding
from cvgssl.features.record import OF_THE_JOB, EncoderRecord
from cvgssl.features.table import UNLABELLED, FeatureTable
from cvgssl.heads import ALL_HEADS, own_parameters
from cvgssl.heads.auto_decision import AutoDecision
from cvgssl.heads.base import takes_views
from cvgssl.heads.metrics import INDUCTIVE, SEMI_SUPERVISED
from cvgssl.recognizer.card import (
    KeptEmbeddings,
    KeptEncoder,
    RecognizerCard,
    load_recognizer,
    save_recognizer,
)
from cvgssl.recognizer.class_texts import check_space, class_texts
from cvgssl.recognizer.config import FitConfig
from cvgssl.recognizer.head import FittedHead
from cvgssl.recognizer.labelling import UnlabelledFeatures, embed_unlabelled, labelled_train
from cvgssl.recognizer.on_test import TEST_ANSWERS, OnTest, ask_about_test, write_test_answers
from cvgssl.runtime.files import new_folder, write_json, write_text
from cvgssl.runtime.options import CONFIG, to_dict, to_yaml
from cvgssl.selection.held_out import HeldOutLabels
from cvgssl.selection.label_list import read_labels, write_labels

SUMMARY, LABELS = "summary.json", "labels.csv"


@dataclass(frozen=True)
class FitSummary:
    """A recognizer in figures.

    labelled, unlabelled: train pictures. mirror_images: of each labelled one, which the head sees.
    setting: inductive without unlabelled ones.
    temperature: of calibration, after those of `decision`; 1 with one label per class, where no
        label can be held out.
    held_out: how often it is right about its own labels when they are held out.
    decision: what decided in the head `auto`; None for others.
    prompts: by class, the sentences that pictures are compared with; None for heads without texts.
    test: None where no test picture has a label. seconds: of the whole job.
    """

    encoder: str
    head: str
    classes: tuple[str, ...]
    labelled: int
    unlabelled: int
    mirror_images: int
    setting: str
    temperature: float
    held_out: HeldOutLabels
    decision: AutoDecision | None
    prompts: dict[str, list[str]] | None
    test: OnTest | None
    seconds: float


def fit(
    config: FitConfig, write_more: Callable[[Path, FitSummary], object] | None = None
) -> tuple[Path, FitSummary]:
    """Make a recognizer without training; gives its folder, for `predict`, and its figures.

    write_more: adds files to the folder, before that has its name, so that it appears whole.
    Raises UserError for what is wrong with data, encoders or labels; nothing is written then.
    """
    started = time.monotonic()
    if config.labels is not None:
        read_labels(config.labels, "--labels")  # mistakes show before the work of embedding
    listing = texts = None
    if config.has_texts:
        listing = list_for_embedding(config.embedding())
        texts = class_texts(config, listing.classes)
    embedded = embed_all(config.embedding(), listing=listing)
    table = embedded.table
    if texts is not None:
        check_space(config, texts, table)
    unlabelled = embed_unlabelled(table, config)
    train = labelled_train(table, config, unlabelled)
    mirrored = _mirrored(config, embedded, unlabelled, train)
    with new_folder(config.out, "--out") as folder:
        card = _card(config, embedded.records, train)
        kept_texts = None if texts is None else texts_table(texts, train.classes)
        save_recognizer(folder, card, KeptEmbeddings(train, mirrored, kept_texts))
        card, kept = load_recognizer(folder)  # the figures are those of what was written
        head = FittedHead(kept, card)
        test, answers = ask_about_test(table, head)
        summary = _summary(config, table, kept, head, test, started)
        if answers:
            write_test_answers(answers, folder / TEST_ANSWERS)
        write_train_labels(kept.train, folder / LABELS)
        write_json(folder / SUMMARY, asdict(summary))
        write_text(folder / CONFIG, to_yaml(config))
        if write_more is not None:
            write_more(folder, summary)
    return config.out, summary


def _mirrored(
    config: FitConfig,
    embedded: Embedded,
    unlabelled: UnlabelledFeatures | None,
    train: FeatureTable,
) -> FeatureTable | None:
    """Embeddings of mirror images of the labelled pictures, where the head looks at them."""
    if not takes_views(ALL_HEADS[config.head]):
        return None
    labelled = train.take(np.flatnonzero(train.labels != UNLABELLED))
    jobs, order = [], []
    sources = [(embedded, embedded.table.names, config.data)]
    if unlabelled is not None:
        sources.append((unlabelled.embedded, unlabelled.names, unlabelled.folder))
    for source, names, folder in sources:
        place = {name: row for row, name in enumerate(names)}
        own = [row for row, name in enumerate(labelled.names) if name in place]
        rows = np.array([place[labelled.names[row]] for row in own], np.intp)
        if own:
            jobs.append((source, rows, replace(config.embedding(), data=folder)))
            order += own
    tables = embed_mirrored_each(jobs, config.support_flips)
    values = [table.values for table in tables if table is not None]
    if not values:
        return None
    first = tables[0]
    assert first is not None
    pictures = labelled.take(np.array(order, np.intp))
    return replace(pictures, values=np.concatenate(values), about=first.about)


def _card(config: FitConfig, records: list[EncoderRecord], train: FeatureTable) -> RecognizerCard:
    embedding = config.embedding()
    requested, unlabelled = requested_encoders(embedding), config.unlabelled
    encoders = tuple(
        KeptEncoder(replace(encoder.spec, file=_place(encoder)), record)
        for encoder, record in zip(requested, records, strict=True)
    )
    options = {key: value for key, value in to_dict(embedding).items() if key not in OF_THE_JOB}
    return RecognizerCard(
        train.classes,
        config.head,
        own_parameters(config.head),
        config.prepared,
        options,
        encoders,
        elsewhere={unlabelled.as_posix(): str(unlabelled.resolve())}
        if unlabelled is not None
        else {},
    )


def _place(encoder: EncoderRequest) -> str:
    """Where its weights are, for a folder that may be used elsewhere."""
    if encoder.file is None or encoder.spec.file == INSTALLED:
        return encoder.spec.file
    return str(encoder.file.resolve())


def _summary(
    config: FitConfig,
    table: FeatureTable,
    kept: KeptEmbeddings,
    head: FittedHead,
    test: OnTest | None,
    started: float,
) -> FitSummary:
    train, mirrored = kept.train, kept.mirrored
    labelled = int((train.labels != UNLABELLED).sum())
    unlabelled = len(train) - labelled
    return FitSummary(
        str(table.about["encoder"]),
        config.head,
        train.classes,
        labelled,
        unlabelled,
        0 if mirrored is None else mirrored.values.shape[1] // train.values.shape[1],
        SEMI_SUPERVISED if unlabelled else INDUCTIVE,
        head.temperature,
        head.held_out,
        head.decision,
        None if kept.texts is None else kept.texts.about["prompts"],
        test,
        time.monotonic() - started,
    )


def write_train_labels(train: FeatureTable, path: Path) -> None:
    """The labelled pictures, as --labels takes them."""
    rows = np.flatnonzero(train.labels != UNLABELLED)
    write_labels([(train.names[row], train.classes[train.labels[row]]) for row in rows], path)
