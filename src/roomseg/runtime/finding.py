"""Complete artifacts by the configuration that made them: what a stage reads, and what a whole run came to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from roomseg.comparisons import comparisons
from roomseg.config import PipelineConfig, Section
from roomseg.errors import UserError
from roomseg.runtime.manifest import Manifest, manifest_key, read_manifest
from roomseg.runtime.stage import STAGES, stage_fingerprint
from roomseg.runtime.storage import Store, open_store


def find_inputs(stage: str, config: PipelineConfig, store: str) -> dict[str, Manifest]:
    """The complete artifacts that a stage of this configuration reads; raises ``UserError`` naming what to run."""
    return _find_inputs(stage, config, open_store(store), {})


def find_artifacts(stages: Iterable[str], config: PipelineConfig, store: str) -> dict[str, Manifest]:
    """The complete artifacts of these stages and of all before them; raises ``UserError`` naming what to run."""
    opened = open_store(store)
    found: dict[str, Manifest] = {}
    for stage in stages:
        _find(stage, config, opened, found)
    return found


def find_complete(stage: str, config: PipelineConfig, store: str, found: Mapping[str, Manifest]) -> Manifest | None:
    """The artifact of a stage whose inputs are among ``found`` by the names of their stages; None if it has not run."""
    inputs = {name: found[parent] for name, parent in STAGES[stage].inputs.items()}
    section = config.section(stage)
    return read_manifest(open_store(store), stage, stage_fingerprint(stage, section, inputs))


def _find(stage: str, config: PipelineConfig, store: Store, found: dict[str, Manifest]) -> Manifest:
    """``found`` keeps what is known already: a stage is the parent of several."""
    if stage not in found:
        inputs = _find_inputs(stage, config, store, found)
        found[stage] = _complete(stage, config.section(stage), config, inputs, store)
    return found[stage]


def _find_inputs(stage: str, config: PipelineConfig, store: Store, found: dict[str, Manifest]) -> dict[str, Manifest]:
    inputs = {name: _find(parent, config, store, found) for name, parent in STAGES[stage].inputs.items()}
    if stage == "evaluate":
        for each, section in comparisons(config).items():
            read = {name: inputs[name] for name in STAGES[each.stage].inputs}
            inputs[each.port] = _complete(each.stage, section, config, read, store)
    return inputs


def _complete(
    stage: str, section: Section, config: PipelineConfig, inputs: Mapping[str, Manifest], store: Store
) -> Manifest:
    """``section`` is the configuration's own, or that of a network that is compared with the student."""
    mark = stage_fingerprint(stage, section, inputs)
    manifest = read_manifest(store, stage, mark)
    if manifest is None:
        raise UserError(
            f"{store.url}/{manifest_key(stage, mark)} is not there: "
            f"run `roomseg {stage}{_settings(stage, section, config)}` first, with the same profile, settings and store"
        )
    return manifest


def _settings(stage: str, section: Section, config: PipelineConfig) -> str:
    """How the section differs from the configuration's own, as options."""
    own, values = config.section(stage).model_dump(mode="json"), section.model_dump(mode="json")
    return "".join(
        f" --set {stage}.{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in values.items()
        if value != own[name]
    )
