"""The OpenAPI document of a station, from the models of its answers."""

from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from cvgssl import __version__

_PLACE = "#/components/schemas/{model}"


class Failure(BaseModel):
    """Why a request has no answer."""

    error: str


class ModelAnswer(BaseModel):
    """A version of the recognizer."""

    version: int = Field(description="from 1, in the order in which they were added")
    sha256: str = Field(description="of all its files")
    name: str = Field(description="of the file or folder that it was made of")
    added: str = Field(description="UTC, ISO 8601")
    live: bool = Field(description="whether it answers where no version is named")


class ModelsAnswer(BaseModel):
    """All versions."""

    models: list[ModelAnswer]


class PictureAnswer(BaseModel):
    """What is said of one picture, or why it could not be read."""

    name: str
    sha256: str = Field(description="of the bytes")
    answer: str | None = Field(None, description="class, or unknown, or not sure")
    class_: str | None = Field(None, alias="class", description="most likely class")
    probability: float | None = Field(None, description="that of the class")
    probabilities: dict[str, float] | None = None
    error: str | None = Field(None, description="instead of all these")


class PredictAnswer(BaseModel):
    """What is said of the pictures of a request, in their order."""

    version: int = Field(description="of the recognizer")
    pictures: list[PictureAnswer]


_FAILURES = {
    "400": "no picture, or not what is described here",
    "401": "no token, or another one",
    "404": "no version of that number",
    "408": "the request did not arrive in time",
    "413": "larger, or more pictures, than is taken",
    "415": "another Content-Type",
    "421": "sent to another name than this machine's",
    "422": "no picture could be read",
    "503": "as many pictures wait as may (Retry-After says how long), no recognizer is live yet, "
    "or that version is unusable",
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    models = (Failure, ModelAnswer, ModelsAnswer, PictureAnswer, PredictAnswer)
    _, schemas = models_json_schema(
        [(model, "serialization") for model in models], ref_template=_PLACE
    )
    picture = {"type": "string", "format": "binary"}
    predict = {
        "summary": "Recognize one picture (as the body) or several (as the files of a form)",
        "operationId": "predict",
        "parameters": [
            {
                "name": "version",
                "in": "query",
                "description": "of the recognizer; left out: the live one",
                "schema": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": picture},
                "image/*": {"schema": picture},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"picture": {"type": "array", "items": picture}},
                        "required": ["picture"],
                    }
                },
            },
        },
        "responses": _answers(PredictAnswer, *_FAILURES),
    }
    listed = {
        "summary": "All versions of the recognizer",
        "operationId": "models",
        "responses": _answers(ModelsAnswer, "401", "408", "413", "421"),
    }
    plain = {
        path: {
            "get": {
                "summary": summary,
                "operationId": path.strip("/"),
                "responses": {status: {"description": words} for status, words in answers.items()},
            }
        }
        for path, summary, answers in (
            ("/health", "Whether the program runs", {"200": "it does"}),
            (
                "/ready",
                "Whether it can answer",
                {"200": "it can", "503": "the program is about to end"},
            ),
            ("/metrics", "Figures as text for Prometheus", {"200": "figures"}),
        )
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "cvgssl station", "version": __version__},
        "paths": {"/v1/predict": {"post": predict}, "/v1/models": {"get": listed}, **plain},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _answers(model: type[BaseModel], *failures: str) -> dict[str, Any]:
    def content(name: str) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": _PLACE.format(model=name)}}}

    good = {"description": str(model.__doc__), "content": content(model.__name__)}
    bad = {
        status: {"description": _FAILURES[status], "content": content("Failure")}
        for status in failures
    }
    return {"200": good, **bad}
