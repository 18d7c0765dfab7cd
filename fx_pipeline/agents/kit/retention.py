"""Checkpoints that are kept while a training runs: the latest, the best, and one now and then.

`latest`, `best` and `episode-000128` are links to folders that never change, so a link names one whole checkpoint or
another, whenever a process is killed.
"""

import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

from fx_pipeline.market.atomic import TEMPORARY_PREFIX, atomic_write_bytes

LATEST, BEST = "latest", "best"
_VERSIONS, _OWNER = "versions", "training"
_EPISODE = "episode-"
#: Checkpoints of the "now and then" kind that are kept.
KEPT = 5


class Retention:
    """The kept checkpoints of one training.

    Parameters
    ----------
    folder : Path
        Belongs to it; made when the first is kept.
    identity : str
        Of the training. What another training has kept there is removed when this one keeps its first.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self._identity = identity.encode()

    def keep(self, episodes: int, write: Callable[[Path], object], *, best: bool, due: bool) -> None:
        """Keep the present weights.

        Parameters
        ----------
        episodes : int
            Episodes behind them; a resumed training may keep the same again.
        write : callable
            Writes a checkpoint into the folder that it is given, the same bytes for the same weights.
        best : bool
            Whether they are the best so far. If not, a `best` that this many episodes or more made is dropped: it is of
            a run that was killed.
        due : bool
            Whether they are one of those that are kept now and then.
        """
        self._take_over()
        number = f"{episodes:06d}"
        version = self._write(number, write)
        for name, wanted in ((LATEST, True), (BEST, best), (f"{_EPISODE}{number}", due)):
            if wanted:
                self._link(name, version)
        numbers = {link: int(link.name.removeprefix(_EPISODE)) for link in self.folder.glob(f"{_EPISODE}*")}
        past = sorted((number, link) for link, number in numbers.items() if number <= episodes)
        keeping = {link for _, link in past[-KEPT:]}
        for link in numbers:
            # Those ahead are of a run that was killed, whose steps are made again.
            if link not in keeping:
                self._remove(link)
        best_link = self.folder / BEST
        if best_link.is_symlink():
            named = _version(best_link)
            if named != version and int(named.partition("-")[0]) >= episodes:
                self._remove(best_link)
        linked = {_version(link) for link in self.folder.iterdir() if link.is_symlink()}
        for old in (self.folder / _VERSIONS).iterdir():
            if old.name not in linked:
                self._remove(old)

    def _take_over(self) -> None:
        owner = self.folder / _OWNER
        (self.folder / _VERSIONS).mkdir(parents=True, exist_ok=True)
        for leftover in list(self.folder.rglob(f"{TEMPORARY_PREFIX}*")):
            _delete(leftover)
        if owner.is_file() and owner.read_bytes() == self._identity:
            return
        # Links first: none may ever name what is gone.
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name == _VERSIONS):
            self._remove(path)
        (self.folder / _VERSIONS).mkdir()
        atomic_write_bytes(owner, self._identity)

    def _write(self, number: str, write: Callable[[Path], object]) -> str:
        """Write a version and return its name; one that stands is never replaced, as links may name it."""
        fresh = self._temporary(Path(number))
        fresh.mkdir()
        try:
            write(fresh)
            contents = _contents(fresh)
            version = self.folder / _VERSIONS / number
            repetitions = count(2)
            while version.exists() and _contents(version) != contents:
                version = version.with_name(f"{number}-{next(repetitions)}")
            if not version.exists():
                fresh.rename(version)
            return version.name
        finally:
            _delete(fresh)

    def _link(self, name: str, version: str) -> None:
        place = self.folder / name
        if place.is_dir() and not place.is_symlink():
            # A copy of the folder that followed the links.
            self._remove(place)
        fresh = self._temporary(place)
        fresh.symlink_to(Path(_VERSIONS) / version, target_is_directory=True)
        fresh.replace(place)

    def _remove(self, path: Path) -> None:
        """Out of sight first, so that nobody finds half of it."""
        doomed = self._temporary(path)
        path.rename(doomed)
        _delete(doomed)

    def _temporary(self, path: Path) -> Path:
        return self.folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}"


def _version(link: Path) -> str:
    return Path(os.readlink(link)).name


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
