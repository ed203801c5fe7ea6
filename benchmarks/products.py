"""How long a product table takes to be replaced and searched, and how long it keeps other writers waiting:
`python -m benchmarks.products [--database sqlite|postgresql] [--rows 10000 100000]`.

A table is uploaded and replaced, while another thread writes every five milliseconds; then one row is looked for among
words of a label, three times.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from benchmarks.databases import KINDS, made_of
from rollout import log
from rollout.core.audit import Actor
from rollout.db.engine import Database
from rollout.services.changes import Changes
from rollout.services.ids import new_id
from rollout.services.product_tables import ProductTables

PARTNER = Actor("key:benchmark", "partner")
SYLLABLES = (
    "ba",
    "cor",
    "din",
    "fen",
    "gul",
    "ha",
    "jam",
    "kel",
    "lor",
    "mun",
    "no",
    "pi",
    "qua",
    "ra",
    "se",
    "ti",
    "vo",
)
LABEL = "ingredients water oats sugar salt best before shake well keep cool"
PAUSE = 0.005


def table(rows: int) -> bytes:
    pick = random.Random(rows)
    words = ["".join(pick.choices(SYLLABLES, k=pick.randint(2, 4))) for _ in range(2_000)]
    lines = ["id,brand,name,size,ean,notes"]
    for number in range(rows):
        brand, *name = pick.choices(words, k=3)
        notes = " ".join(pick.choices(words, k=10))
        lines.append(
            f"SKU-{number:06},{brand},{' '.join(name)},{pick.choice((250, 500, 1_000))} ml,{4006381000000 + number},{notes}"
        )
    return "\n".join(lines).encode()


def measure(database: Database, rows: int) -> None:
    tables, data = ProductTables(database, Changes(database), new_id), table(rows)
    with writing_beside(database) as waits:
        seconds = [
            timed(lambda: tables.put(PARTNER, "acme", "shelf", data, "id", "benchmark", based_on=None))
            for _ in range(2)
        ]
    wanted = data.decode().splitlines()[rows // 2].split(",")
    searches = sorted(timed(lambda: tables.likely("acme", "shelf", [*wanted[1:4], LABEL])) for _ in range(3))
    found = tables.likely("acme", "shelf", [*wanted[1:4], LABEL])
    assert wanted[0] in [product.id for product in found]
    waits.sort()
    print(
        f"{rows:>7} rows, {len(data) / 1e6:.1f} MB: uploaded {seconds[0]:.2f} s, replaced {seconds[1]:.2f} s; another writer waits "
        f"{1000 * waits[len(waits) // 2]:.1f} ms (median), {1000 * waits[-1]:.0f} ms at most; searched {1000 * searches[1]:.0f} ms"
    )


@contextmanager
def writing_beside(database: Database) -> Iterator[list[float]]:
    """How long each write of another thread took, in seconds."""
    waits: list[float] = []
    over = threading.Event()

    def write() -> None:
        with database.write() as tx:
            database.now(tx)

    def run() -> None:
        while not over.wait(PAUSE):
            waits.append(timed(write))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=KINDS, default="sqlite")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    chosen = parser.parse_args()
    log.configure("error", "text")
    with made_of(chosen.database) as make, closing(Database(make("products"))) as database:
        for rows in chosen.rows:
            measure(database, rows)


if __name__ == "__main__":
    main()
