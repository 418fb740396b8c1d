"""All strategies by name."""

from cvgssl.fewshot.selection.at_random import at_random
from cvgssl.fewshot.selection.base import Strategy
from cvgssl.fewshot.selection.coreset import coreset
from cvgssl.fewshot.selection.medoids import medoids
from cvgssl.fewshot.selection.probcover import probcover
from cvgssl.fewshot.selection.typiclust import typiclust

STRATEGIES: dict[str, Strategy] = {
    "medoids": medoids,
    "typiclust": typiclust,
    "probcover": probcover,
    "coreset": coreset,
    "random": at_random,
}
