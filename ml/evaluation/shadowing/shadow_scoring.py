"""Let a challenger answer the uploads of the last days beside the champion. No user ever sees these answers."""

import logging
from collections.abc import Callable, Sequence
from functools import cache

from ml.app import Workspace, load_version, remember_version
from ml.catalog.answers import Answer
from ml.catalog.logs.results import load_results
from ml.catalog.shadows.shadow_answers import AnswerPair, Upload, keep_latest, list_answered, list_uploads, save_pairs
from ml.catalog.shadows.shadow_records import Shadow, begin_shadow, end_scoring
from ml.catalog.shadows.shadow_sample import draw_sample
from ml.errors import ImageStoreError, MissingPartError, ModelLoadError, NoChampionError, UnknownVersionError
from ml.progress import Progress
from ml.tasks.task import Model

logger = logging.getLogger(__name__)

PHOTOS = 1000  # the latest uploads
SAMPLE_PHOTOS = 50  # of those on which the two models differ
_AT_ONCE = 100  # answers in memory

_OpenModel = Callable[[], Model]


def score_in_shadow(workspace: Workspace, challenger: int, on_progress: Progress | None = None) -> Shadow:
    """Let a challenger and the champion answer the uploads of the last days, and draw the sample for experts.

    Only uploads without stored answers are computed: a call after an interruption continues, and a call without new
    uploads changes nothing. A photo that cannot be read is left out.

    Args: on_progress, called with (photos answered, photos to answer).
    Raises:
        NoChampionError: there is nothing to compare with, or the challenger is in production itself.
        UnknownVersionError, ModelLoadError: a version does not load; the shadow's `problem` says so too.
        ImageStoreError: none of the last photos can be read; the same.
    """
    champion = workspace.registry.champion()
    if champion is None or champion == challenger:
        raise NoChampionError(
            f"Expected another version in production, to compare version {challenger} with. Found: {champion}."
        )
    for version in (challenger, champion):
        remember_version(workspace, version)
    with workspace.catalog.begin() as connection:
        shadow = begin_shadow(connection, challenger, champion)
        uploads = list_uploads(connection, workspace.settings.shadow_days, PHOTOS)
        answered = list_answered(connection, challenger)
    try:
        _score(workspace, shadow, [each for each in uploads if each.item_id not in answered], on_progress)
    except (ModelLoadError, UnknownVersionError, ImageStoreError) as error:
        with workspace.catalog.begin() as connection:
            end_scoring(connection, challenger, str(error))
        raise
    with workspace.catalog.begin() as connection:
        keep_latest(connection, challenger, uploads)
        draw_sample(connection, challenger, SAMPLE_PHOTOS)
        end_scoring(connection, challenger, None)
    return shadow


def _score(workspace: Workspace, shadow: Shadow, uploads: Sequence[Upload], on_progress: Progress | None) -> None:
    """Answer uploads in batches, and store each batch."""
    open_challenger = cache(lambda: load_version(workspace, shadow.challenger_version))
    open_champion = cache(lambda: load_version(workspace, shadow.champion_version))
    for start in range(0, len(uploads), _AT_ONCE):
        batch = uploads[start : start + _AT_ONCE]
        ids = [each.item_id for each in batch]
        challenger = _answer(workspace, open_challenger, ids)
        with workspace.catalog.begin() as connection:
            champion = load_results(connection, shadow.champion_version, ids)  # what users were told
        champion |= _answer(workspace, open_champion, [each for each in challenger if each not in champion])
        pairs = [
            AnswerPair(each, champion[each.item_id], challenger[each.item_id])
            for each in batch
            if each.item_id in challenger and each.item_id in champion
        ]
        if not pairs and not start:  # the store is away: do not try each of the others
            raise ImageStoreError(f"Expected to read some of the last {len(batch)} uploaded photos. Read none of them.")
        with workspace.catalog.begin() as connection:
            save_pairs(connection, shadow, pairs)
        if on_progress:
            on_progress(min(start + _AT_ONCE, len(uploads)), len(uploads))


def _answer(workspace: Workspace, open_model: _OpenModel, item_ids: Sequence[str]) -> dict[str, Answer]:
    """Answer items, except those that cannot be read: their photos may be erased at any time."""
    if not item_ids:
        return {}
    try:
        return dict(zip(item_ids, workspace.task.answer_stored(workspace.catalog, open_model(), item_ids), strict=True))
    except (ImageStoreError, MissingPartError) as error:
        if len(item_ids) == 1:
            logger.warning("Photo %s is left out of the shadow: %s", item_ids[0], error)
            return {}
    middle = len(item_ids) // 2
    return {
        **_answer(workspace, open_model, item_ids[:middle]),
        **_answer(workspace, open_model, item_ids[middle:]),
    }
