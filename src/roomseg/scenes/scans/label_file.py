"""A person's own classes: a TOML file that gives each a name, a colour and its ids in the label pictures.

    name = "robot"              # of the whole
    void = [0, 255]             # ids that say nothing; left out: those of 0 and 255 that no class has

    [[class]]
    name = "floor"
    color = "#98df8a"
    ids = [3, 5]
    shell = true                # of the building, or flat on it: pictures from outside look through it

The class that is written first is class 1. A picture with an id that is in no list is refused.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from roomseg.config import error_line
from roomseg.errors import UserError
from roomseg.labels import LABEL_SETS, VOID, VOID_NAME, LabelSet
from roomseg.scenes.scans.textfiles import read_text

USUAL_VOID = (0, 255)
VOID_COLOR = (0, 0, 0)
LONGEST_NAME = 40
HELP = "docs/own-classes.md has an example"
_SET_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{LONGEST_NAME}}}")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")

Id = Annotated[int, Field(strict=True, ge=0, lt=2**16)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OwnClass(_Closed):
    name: str
    color: str
    ids: tuple[Id, ...] = Field(min_length=1)
    shell: bool = Field(False, strict=True)

    @field_validator("name")
    @classmethod
    def _usable(cls, name: str) -> str:
        if name == VOID_NAME:
            raise ValueError("void is there by itself; put its ids into the list void above the classes")
        if name.isprintable() and name.strip() == name and 1 <= len(name) <= LONGEST_NAME:
            return name
        raise ValueError(f"got {name!r}; expected 1 to {LONGEST_NAME} letters, no blank at either end")

    @field_validator("color")
    @classmethod
    def _hexadecimal(cls, color: str) -> str:
        if _COLOR.fullmatch(color):
            return color
        raise ValueError(f'got {color!r}; expected red, green and blue such as "#98df8a"')


class LabelFile(_Closed):
    name: str
    void: tuple[Id, ...] | None = None
    classes: tuple[OwnClass, ...] = Field(alias="class")

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if _SET_NAME.fullmatch(name) and name not in LABEL_SETS:
            return name
        ours = ", ".join(LABEL_SETS)
        raise ValueError(f"got {name!r}; expected 1 to {LONGEST_NAME} of A-Z, a-z, 0-9, _, . and -, and none of {ours}")

    def label_set(self) -> LabelSet:
        """Raises ``ValueError``, as the next."""
        return LabelSet(
            self.name,
            names=(VOID_NAME, *(each.name for each in self.classes)),
            colors=(VOID_COLOR, *((red, green, blue) for red, green, blue in map(_rgb, self.classes))),
            shell=tuple(each.name for each in self.classes if each.shell),
        )

    def classes_of_ids(self) -> dict[int, int]:
        """Id in the pictures -> class."""
        names = [VOID_NAME, *(each.name for each in self.classes)]
        found: dict[int, int] = {}
        for class_id, ids in enumerate([self.void or (), *(each.ids for each in self.classes)]):
            for number in ids:
                if number in found:
                    raise ValueError(
                        f"id {number} is of {names[found[number]]} and of {names[class_id]}; expected it once"
                    )
                found[number] = class_id
        return found if self.void is not None else dict.fromkeys(USUAL_VOID, VOID) | found


def read_label_file(path: Path) -> tuple[LabelSet, dict[int, int]]:
    """The classes, and the class of each id in the pictures. Raises ``UserError`` that names file and field."""
    text = read_text(path)
    try:
        file = LabelFile.model_validate(tomllib.loads(text))
        return file.label_set(), file.classes_of_ids()
    except ValidationError as error:
        line = re.sub(r"^class\.(\d+)\.", lambda place: f"class {int(place[1]) + 1}, ", error_line(error))
        raise UserError(f"{path}: {line}; {HELP}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}; {HELP}") from None


def _rgb(each: OwnClass) -> bytes:
    return bytes.fromhex(each.color.removeprefix("#"))
