"""`python -m model train-eyes`: train the enhancer of eyes on what the other networks draw."""

from __future__ import annotations

import argparse
from pathlib import Path

from model.errors import InputError

HELP = "train the enhancer of eyes on films, as the other networks draw them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clips", type=Path, required=True, nargs="+", metavar="DIR",
                        help="folders of films of one person each; DIR.csv beside each lists people")  # fmt: skip
    parser.add_argument("--windows", type=Path, default=Path("eyes"), metavar="DIR",
                        help="where windows are kept, for each weights file apart; what is there is not drawn "
                             "again (default: eyes)")  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="FILE",
                        help="weights on whose pictures to train (default: the embedded ones)")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="safetensors file to write")
    parser.add_argument("--from", dest="start", type=Path, metavar="FILE", help="begin with these weights")
    parser.add_argument("--minutes", type=float, required=True, help="training time; the schedule follows it")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate (default 1e-3)")
    parser.add_argument("--films", type=int, default=2, help="films of each person (default 2)")
    parser.add_argument("--licence", choices=["open"], help="train on clips of the open class alone")
    parser.add_argument("--exclude", action="append", default=[], metavar="NAME",
                        help="leave out this film; may be repeated")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Draw what is missing, then train until the time is spent."""
    from tqdm import tqdm

    from model.eye_weights import load_eye_enhancer, write_eye_enhancer
    from model.perceptual.networks import Lpips
    from model.talking_head import TalkingHead
    from model.train.enhancement import train_enhancer
    from model.train.eye_windows import Eyes, eyes_of_film
    from model.train.prepare import list_all_sources

    if not 0 < options.minutes <= 10000 or options.films < 1:
        raise InputError("--minutes must be more than 0, --films at least 1")
    start = None if options.start is None else load_eye_enhancer(options.start)
    lpips, head = Lpips(), TalkingHead.load(options.weights, engine="auto")
    films: dict[str, list[Path]] = {}
    for source in list_all_sources(options.clips, options.licence):
        if source.path.stem not in options.exclude:
            films.setdefault(source.person, []).append(source.path)
    windows = options.windows / head.weights_hash[:12]
    windows.mkdir(parents=True, exist_ok=True)
    people: dict[str, list[Eyes]] = {}
    wanted = [(person, path) for person, paths in films.items() for path in paths[: options.films]]
    for person, path in tqdm(wanted, desc="drawing eyes", unit="film", disable=None):
        kept = windows / f"{path.stem}.npz"
        if kept.exists():
            people.setdefault(person, []).append(Eyes.read(kept))
        elif (eyes := eyes_of_film(head, path)) is not None:
            eyes.write(kept)
            people.setdefault(person, []).append(eyes)
    if not people:
        raise InputError("no film shows a face that can be followed")
    print(f"{sum(len(eyes) for films in people.values() for eyes in films)} eyes of {len(people)} people")
    write_eye_enhancer(train_enhancer(people, lpips, options.minutes, options.rate, start), options.out)
    return 0
