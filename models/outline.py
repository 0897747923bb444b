"""The outline of a network: what of its calls has to be drawn, so that a deep one is still one picture.

Owns what is left out. Calls that follow each other become one box; boxes that do the same beside each other, or block
after block, become one that says how many they are. Where that is not enough, only layers with kernels are left, and
of those the first and the last.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.anatomy import Call

MOST_BOXES = 20
FEWEST_COPIES = 3
"""Two blocks are drawn, three are one block three times."""


@dataclass(frozen=True)
class Box:
    """Calls that are drawn as one, and the places of the boxes that they read.

    ``shape`` is that of what comes out; ``copies`` is the number of such boxes side by side.
    """

    words: tuple[str, ...]
    shape: tuple[int | None, ...]
    parameters: int
    has_kernel: bool
    inputs: tuple[int, ...]
    copies: int = 1

    @property
    def does(self) -> "Box":
        """What a box does, wherever it stands."""
        return replace(self, inputs=())


@dataclass(frozen=True)
class Repeat:
    """The boxes from ``start`` to before ``stop``, which follow each other ``times`` times."""

    start: int
    stop: int
    times: int


@dataclass(frozen=True)
class Outline:
    """What is drawn; ``is_whole`` unless layers without kernels, or boxes in the middle, were left out."""

    boxes: tuple[Box, ...]
    repeats: tuple[Repeat, ...]
    is_whole: bool


def outline_of(calls: Sequence[Call]) -> Outline:
    """Return the outline of a network: whole if it has room, and else in its main features."""
    boxes, repeats = _repeated(_side_by_side(_folded(calls)))
    if is_whole := len(boxes) <= MOST_BOXES:
        return Outline(tuple(boxes), tuple(repeats), is_whole)
    boxes, repeats = _repeated(_side_by_side(_layers(calls)))
    if len(boxes) > MOST_BOXES:
        boxes, repeats = _shortened(boxes), []
    return Outline(tuple(boxes), tuple(repeats), is_whole)


def _folded(calls: Sequence[Call]) -> list[Box]:
    """Fold what follows a call, and nothing else, into its box; at most one kernel or merging of several in each."""
    n_readers = _n_readers([call.inputs for call in calls])
    places: list[int] = []
    boxes: list[Box] = []
    is_begun: list[bool] = []
    for call in calls:
        sources = sorted({places[source] for source in call.inputs})
        begins = call.has_kernel or len(set(call.inputs)) > 1
        follows = len(set(call.inputs)) == 1 and n_readers[call.inputs[0]] == 1 and bool(boxes[sources[0]].inputs)
        if follows and not (begins and is_begun[sources[0]]):
            places.append(sources[0])
            boxes[places[-1]] = _extended(boxes[places[-1]], call)
            is_begun[places[-1]] |= begins
        else:
            places.append(len(boxes))
            boxes.append(Box((call.words,), call.shape, call.parameters, call.has_kernel, tuple(sources)))
            is_begun.append(begins)
    return boxes


def _extended(box: Box, call: Call) -> Box:
    return replace(
        box,
        words=(*box.words, call.words),
        shape=call.shape,
        parameters=box.parameters + call.parameters,
        has_kernel=box.has_kernel or call.has_kernel,
    )


def _n_readers(inputs: Sequence[tuple[int, ...]]) -> list[int]:
    return [sum(place in sources for sources in inputs) for place in range(len(inputs))]


def _side_by_side(boxes: list[Box]) -> list[Box]:
    """Draw boxes that do the same with the same, for the same, once."""
    readers: dict[int, list[int]] = defaultdict(list)
    for place, box in enumerate(boxes):
        for source in box.inputs:
            readers[source].append(place)
    alike: dict[object, list[int]] = defaultdict(list)
    for place, box in enumerate(boxes):
        alike[box, tuple(readers[place])].append(place)
    first = list(range(len(boxes)))
    for places in alike.values():
        if len(places) >= FEWEST_COPIES:
            boxes[places[0]] = replace(boxes[places[0]], copies=len(places))
            for place in places:
                first[place] = places[0]
    return _kept(boxes, first)


def _kept(boxes: Sequence[Box], stands_for: Sequence[int]) -> list[Box]:
    """Return the boxes that stand for themselves; ``stands_for`` is the place of the box that is drawn for each."""
    drawn = [place for place, first in enumerate(stands_for) if place == first]
    places = {place: new for new, place in enumerate(drawn)}
    return [
        replace(boxes[place], inputs=tuple(sorted({places[stands_for[source]] for source in boxes[place].inputs})))
        for place in drawn
    ]


def _repeated(boxes: list[Box]) -> tuple[list[Box], list[Repeat]]:
    """Draw blocks that follow each other once."""
    stands_for, repeats, place = list[int](), list[Repeat](), 0
    n_drawn = 0
    while place < len(boxes):
        period, times = _block(boxes, place)
        if times > 1:
            repeats.append(Repeat(n_drawn, n_drawn + period, times))
        stands_for += [place + step % period for step in range(period * times)]
        place, n_drawn = place + period * times, n_drawn + period
    return _kept(boxes, stands_for), repeats


def _block(boxes: Sequence[Box], start: int) -> tuple[int, int]:
    """Return length and number of the blocks from ``start`` on: the ones that save most, the shortest of those."""
    found = [(period, _times(boxes, start, period)) for period in range(1, (len(boxes) - start) // FEWEST_COPIES + 1)]
    enough = [(period, times) for period, times in found if times >= FEWEST_COPIES]
    return max(enough, key=lambda block: (block[0] * (block[1] - 1), -block[0]), default=(1, 1))


def _times(boxes: Sequence[Box], start: int, period: int) -> int:
    end = start + period
    while end < len(boxes) and _is_next(boxes[end - period], boxes[end], start, period):
        end += 1
    return (end - start) // period


def _is_next(box: Box, other: Box, start: int, period: int) -> bool:
    """Tell whether a box does in its block what another does in the one before, with the same or its own inputs."""
    if box.does != other.does or len(box.inputs) != len(other.inputs):
        return False
    pairs = zip(box.inputs, other.inputs, strict=True)
    return all(its == one + period or (its == one and one < start) for one, its in pairs)


def _layers(calls: Sequence[Call]) -> list[Box]:
    """Leave inputs and layers with kernels, each once, and of their connections those that no other path replaces."""
    n_calls = Counter(call.layer for call in calls)
    first: dict[str, Call] = {}
    reads: dict[str, set[str]] = defaultdict(set)
    behind: list[set[str]] = []
    for call in calls:
        sources = set[str]().union(*(behind[source] for source in call.inputs))
        if call.has_kernel or not call.inputs or call is calls[-1]:
            first.setdefault(call.layer, call)
            reads[call.layer] |= sources
            sources = {call.layer}
        behind.append(sources)
    places = {layer: place for place, layer in enumerate(first)}
    boxes: list[Box] = []
    for layer, call in first.items():
        often = (f"{n_calls[layer]} times",) if n_calls[layer] > 1 else ()
        memory = ("reads itself",) if layer in reads[layer] else ()
        inputs = _direct(boxes, {places[source] for source in reads[layer] if places[source] < len(boxes)})
        boxes.append(Box((call.words, *often, *memory), call.shape, call.parameters, call.has_kernel, inputs))
    return boxes


def _direct(boxes: Sequence[Box], sources: set[int]) -> tuple[int, ...]:
    """Return the sources that no other source reads."""
    return tuple(sorted(sources - set[int]().union(*(_ancestors(boxes, source) for source in sources))))


def _ancestors(boxes: Sequence[Box], place: int) -> set[int]:
    found: set[int] = set()
    waiting = [place]
    while waiting:
        new = set(boxes[waiting.pop()].inputs) - found
        found |= new
        waiting += new
    return found


def _shortened(boxes: list[Box]) -> list[Box]:
    """Leave the first and the last boxes, and one between them that says how many there are."""
    half = MOST_BOXES // 2
    left_out = boxes[half:-half]
    n_parameters = sum(box.parameters * box.copies for box in left_out)
    boxes[half] = Box((f"{len(left_out)} more",), left_out[-1].shape, n_parameters, False, left_out[0].inputs)
    return _kept(boxes, [half if half <= place < len(boxes) - half else place for place in range(len(boxes))])
