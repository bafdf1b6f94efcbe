"""render: any source of rooms -> rooms (TSDF, RGB, label) with panoramas, in Parquet shards with an index.

Which room goes into which shard is planned from the configuration and the source alone, so that shards may be made in
any order, by any number of processes, on several machines (``roomseg render --shard I/N``), with the same bytes. A room
that fails is quarantined with its reason in its shard's summary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from roomseg.config import RenderConfig
from roomseg.data import index
from roomseg.data.audit import audit_report
from roomseg.data.shards import PackedRoom, write_shard
from roomseg.data.summary import ShardSummary, summarise
from roomseg.errors import UserError
from roomseg.ports import Bar, Rejected, RoomKey, StageContext
from roomseg.processes import given_cores
from roomseg.scenes.generated import furniture_dir
from roomseg.splits import SPLITS
from roomseg.stages.outputs import add_json
from roomseg.stages.rendering.workers import Outcome, Workers, work
from roomseg.stages.sources import open_source, source_digests

REJECTED = "rejected.json"  # what the source turned away before loading, as the summary of a shard without rooms


@dataclass(frozen=True)
class ShardPlan:
    rooms: str  # names in the artifact
    summary: str
    keys: Sequence[RoomKey]


def run(config: RenderConfig, ctx: StageContext) -> dict[str, float] | None:
    """Render what is missing of this shard of the work, or of all; then, of all, gather the index and the audit.

    Returns counts and means; None for a shard of the work: the artifact is not complete then.
    """
    config = config.model_copy(update={name: str(ctx.fetch(uri)) for name, uri in config.outside_files().items()})
    if config.source == "generated" and furniture_dir(config.furniture_dir) is None:
        ctx.progress.say("render: no furniture libraries (`make furniture` fetches them): parametric furniture only")
    keys, rejected = open_source(config).plan()
    shards = plan_shards(config, keys, rejected)
    ours = shards if ctx.shard is None else shards[ctx.shard[0] - 1 :: ctx.shard[1]]
    missing = [shard for shard in ours if shard.rooms not in ctx.outputs or shard.summary not in ctx.outputs]
    if len(missing) < len(ours):
        ctx.progress.say(f"render: {len(ours) - len(missing)} of {len(ours)} files of rooms are there already")
    if missing:
        _render(config, missing, ctx)
    if ctx.shard is None:
        return _gather(config, shards, rejected, ctx)
    part = "{}/{}".format(*ctx.shard)
    ctx.progress.say(
        f"render: shard {part} is done, {len(ours)} of {len(shards)} files of rooms; when all are, run it without "
        "--shard to complete the artifact"
    )
    return None


def external_digests(config: RenderConfig) -> dict[str, str]:
    """What the rooms depend on besides the configuration and the code."""
    return source_digests(config)


def plan_shards(config: RenderConfig, keys: Sequence[RoomKey], rejected: Sequence[Rejected]) -> list[ShardPlan]:
    """Which room goes where. Raises ``UserError`` where the source has no room for a split that is asked for."""
    shards = []
    for split in SPLITS:
        chosen = [key for key in keys if key.split == split][: config.rooms[split]]
        if config.rooms[split] and not chosen:
            raise UserError(
                f"the source {config.source} has no room for {split} ({len(keys)} rooms in all, {len(rejected)} turned "
                f"away{_first_reason(rejected)}); --set render.{split}_rooms=0 does without"
            )
        for n, start in enumerate(range(0, len(chosen), config.rooms_per_shard)):
            name = f"rooms/{split}-{n:05d}"
            shards.append(ShardPlan(f"{name}.parquet", f"{name}.json", chosen[start : start + config.rooms_per_shard]))
    return shards


def _first_reason(rejected: Sequence[Rejected]) -> str:
    return f", the first, {rejected[0].id}, because: {rejected[0].reason}" if rejected else ""


def _render(config: RenderConfig, missing: Sequence[ShardPlan], ctx: StageContext) -> None:
    n_rooms = sum(len(shard.keys) for shard in missing)
    processes = min(config.workers or given_cores(), n_rooms)
    with (
        Workers(partial(work, open_source, config), processes) as workers,
        ctx.progress.bar("render", total=n_rooms, unit="rooms") as bar,
    ):
        outcomes = _said(workers.in_order(key for shard in missing for key in shard.keys), bar, ctx)
        for shard in missing:
            path = ctx.work_dir / Path(shard.rooms).name
            summary = write_shard(islice(outcomes, len(shard.keys)), path)
            ctx.outputs.add(shard.rooms, path)
            path.write_bytes(summary.to_json())
            ctx.outputs.add(shard.summary, path)
            path.unlink()


def _said(outcomes: Iterator[Outcome], bar: Bar, ctx: StageContext) -> Iterator[PackedRoom | Rejected]:
    """The rooms; what is lost is said at once, our own faults with all that is known of them."""
    lost = 0
    for outcome in outcomes:
        if isinstance(outcome.room, Rejected):
            lost += 1
            ctx.progress.say(f"render: quarantined {outcome.room.id}: {outcome.room.reason}")
            if outcome.bug:
                ctx.progress.say(f"render: this is a fault of roomseg, please report it:\n{outcome.bug}")
        bar.advance(1, **({"quarantined": lost} if lost else {}))
        yield outcome.room


# When all shards are there


def _gather(
    config: RenderConfig, shards: Sequence[ShardPlan], rejected: Sequence[Rejected], ctx: StageContext
) -> dict[str, float]:
    """Index and audit from the summaries alone, one at a time; raises ``UserError`` if too much was lost."""
    turned_away = summarise([], [], rejected)
    _add_bytes(ctx, REJECTED, turned_away.to_json())
    path = ctx.work_dir / Path(index.NAME).name
    index.write_index(_summaries(shards, ctx), path)
    ctx.outputs.add(index.NAME, path)
    audit = audit_report(chain([turned_away], (summary for _, summary in _summaries(shards, ctx))))
    add_json(ctx, "audit.json", audit)
    _check_losses(config, shards, audit, ctx)
    return {
        "rooms": sum(audit["rooms"].values()),
        "quarantined": audit["quarantined"],
        "hit_rate": _or_nan(audit["hit_rate"]),
        "surface_seen": _or_nan(audit["surface_seen"]),
        "labelled_share": audit["labelled_share"],
    }


def _summaries(shards: Sequence[ShardPlan], ctx: StageContext) -> Iterator[tuple[str, ShardSummary]]:
    for shard in shards:
        path = ctx.outputs.path(shard.summary)
        yield shard.rooms, ShardSummary.from_json(path.read_bytes(), str(path))


def _check_losses(config: RenderConfig, shards: Sequence[ShardPlan], audit: dict[str, Any], ctx: StageContext) -> None:
    planned = sum(len(shard.keys) for shard in shards)
    lost = planned - sum(audit["rooms"].values())
    empty = [split for split in SPLITS if config.rooms[split] and not audit["rooms"][split]]
    if not empty and lost <= config.max_quarantined_share * planned:
        return
    what = f"{lost} of {planned} rooms are quarantined" + (f", and {empty[0]} is empty" if empty else "")
    raise UserError(
        f"{what} (render.max_quarantined_share is {config.max_quarantined_share:g}); the first: "
        f"{_first_quarantined(shards, ctx)}; mend the source and render again"
    )


def _first_quarantined(shards: Sequence[ShardPlan], ctx: StageContext) -> str:
    each = next(each for _, summary in _summaries(shards, ctx) for each in summary.quarantined)
    return f"{each.id}: {each.reason}"


def _add_bytes(ctx: StageContext, name: str, data: bytes) -> None:
    path = ctx.work_dir / name
    path.write_bytes(data)
    ctx.outputs.add(name, path)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
