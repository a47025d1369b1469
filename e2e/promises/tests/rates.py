"""How fast a volume is read beside the same files on the node's own file system: medians of rounds by turns, as ratios.

rates.py VOLUME SOURCE PAGES: a line for each way of reading, the volume's rate by that of the source. PAGES is `own` for a volume that has pages
of its own, which are dropped before each pass: those of the file below stay, which is what a second pod finds. Those of a composed volume's pinned
files are the very pages of the file below: `shared`.
"""
import concurrent.futures
import os
import statistics
import sys
import time

VOLUME, SOURCE, PAGES = sys.argv[1:4]
ROUNDS = 5
LEAST = 0.3


def files(root):
    found = []
    for at, _, names in os.walk(root):
        found += [os.path.relpath(os.path.join(at, name), root) for name in names]
    return sorted(found)


def read(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        while os.read(fd, 1 << 20):
            pass
    finally:
        os.close(fd)


def forget(path):
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def rate(root, names, threads):
    """Files a second; several passes where one is too short to be timed."""
    done, spent = 0, 0.0
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        while spent < LEAST:
            if root == VOLUME and PAGES == "own":
                for name in names:
                    forget(os.path.join(root, name))
            start = time.perf_counter()
            list(pool.map(lambda part: [read(os.path.join(root, name)) for name in part], [names[n::threads] for n in range(threads)]))
            spent += time.perf_counter() - start
            done += len(names)
    return done / spent


names = files(SOURCE)
assert files(VOLUME) == names, "other files than in the source"
large = max(names, key=lambda name: os.path.getsize(os.path.join(SOURCE, name)))
small = [name for name in names if os.path.getsize(os.path.join(SOURCE, name)) <= 128 << 10]
for root in (SOURCE, VOLUME):
    for name in names:
        read(os.path.join(root, name))
for what, these, threads in (("large file", [large], 1), ("small files", small, 1), ("small files by four", small, 4)):
    pairs = [(rate(VOLUME, these, threads), rate(SOURCE, these, threads)) for _ in range(ROUNDS)]
    print(f"{what}: {statistics.median(ours / native for ours, native in pairs):.2f}")
