"""Reads random pieces of a volume for ever, in several ways, and compares each with the same piece of the source.

reader.py VOLUME SOURCE MODE: files stay open, MODE is buffered, mmap or direct. Ends when /tmp/end is there: prints the
number of reads, the longest of them in seconds, and beside it the longest that a thread was kept waiting that meanwhile reads a
file of the source itself every 10 ms: for so long the machine stood still. Any error or wrong byte ends it at once with status 1.
"""
import mmap, os, random, sys, threading, time

volume, source, mode = sys.argv[1:4]
PAGE = 4096
files = []
for dir, _, names in os.walk(source):
    for name in names:
        path = os.path.join(dir, name)
        size = os.stat(path).st_size
        if size > 0:
            files.append((os.path.relpath(path, source), size))
files.sort()
random.seed(7)
# The large ones are those with parts that are not read yet when something dies.
files = sorted(random.sample(files, min(60, len(files))) + sorted(files, key=lambda f: -f[1])[:12])
flags = os.O_RDONLY | (os.O_DIRECT if mode == "direct" else 0)
opened = []
for name, size in files:
    fd = os.open(os.path.join(volume, name), flags)
    assert os.fstat(fd).st_size == size, name
    opened.append((name, size, fd, open(os.path.join(source, name), "rb")))
buffer = mmap.mmap(-1, 1 << 20)
reads, longest, still = 0, 0.0, 0.0


def watch():
    global still
    fd = os.open(os.path.join(source, files[0][0]), os.O_RDONLY)
    while True:
        begun = time.monotonic()
        time.sleep(0.01)
        os.pread(fd, PAGE, 0)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        still = max(still, time.monotonic() - begun - 0.01)


threading.Thread(target=watch, daemon=True).start()
print("reading", flush=True)
while not os.path.exists("/tmp/end"):
    name, size, fd, expected = random.choice(opened)
    at = random.randrange((size + PAGE - 1) // PAGE) * PAGE
    length = min(random.choice([PAGE, 16 * PAGE, 256 * PAGE]), size - at)
    begun = time.monotonic()
    if mode == "mmap":
        with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
            got = mapped[at:at + length]
    elif mode == "direct":
        n = os.preadv(fd, [memoryview(buffer)[:(length + PAGE - 1) // PAGE * PAGE]], at)
        got = buffer[:min(n, length)]
    else:
        got = os.pread(fd, length, at)
    longest = max(longest, time.monotonic() - begun)
    expected.seek(at)
    if got != expected.read(length):
        sys.exit(f"wrong bytes in {name} at {at}: {len(got)} of {length}")
    reads += 1
    if mode != "mmap":
        # Otherwise the kernel's pages would soon answer everything.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
print(f"reads {reads} longest {longest:.3f} s, the machine's own {still:.3f} s")
